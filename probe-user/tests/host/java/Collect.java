import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryPoolMXBean;
import java.util.Scanner;

/** For each line of input: makes garbage, has it collected, and tells what the JVM's own beans count, at rest. */
public class Collect {
    static Object kept;

    public static void main(String[] arguments) throws Exception {
        System.out.println("ready");
        Scanner input = new Scanner(System.in);
        while (input.hasNextLine()) {
            int rounds = Integer.parseInt(input.nextLine());
            for (int round = 0; round < rounds; round++) {
                byte[][] garbage = new byte[64][];
                for (int index = 0; index < garbage.length; index++) {
                    garbage[index] = new byte[20_000];
                }
                kept = garbage;
            }
            System.gc();
            String before = "";
            // A concurrent collection ends by and by; a bean counts it then.
            for (String now = beans(); !now.equals(before); now = beans()) {
                before = now;
                Thread.sleep(200);
            }
            System.out.print(before);
            for (MemoryPoolMXBean pool : ManagementFactory.getMemoryPoolMXBeans()) {
                System.out.println("pool\t" + pool.getName() + "\t" + pool.getUsage().getUsed() + "\t"
                    + pool.getUsage().getCommitted());
            }
            System.out.println("end");
        }
    }

    static String beans() {
        StringBuilder text = new StringBuilder();
        for (GarbageCollectorMXBean bean : ManagementFactory.getGarbageCollectorMXBeans()) {
            text.append("gc\t" + bean.getName() + "\t" + bean.getCollectionCount() + "\t" + bean.getCollectionTime()
                + "\n");
        }
        return text.toString();
    }
}
