import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import kafka.tools.StorageTool;

/**
 * FormatStorage CLUSTER_ID SERVER_PROPERTIES...: formats the storage of several brokers in one JVM.
 */
public final class FormatStorage {
    public static void main(String[] args) {
        for (int i = 1; i < args.length; i++) {
            ByteArrayOutputStream said = new ByteArrayOutputStream();
            int status = StorageTool.execute(
                new String[] {"format", "-t", args[0], "-c", args[i]}, new PrintStream(said, true));
            if (status != 0) {
                System.err.println(args[i] + ": " + said);
                System.exit(status);
            }
        }
    }
}
