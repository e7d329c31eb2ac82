import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.MetricName;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Producers BOOTSTRAP TOPIC ACKS RECORDS VALUE_BYTES: one producer for each codec, one after the other, each with the
 * client id ACKS-CODEC behind "java-". After its records have gone it prints the client id, and NAME VALUE of each of
 * its own metrics, in one line.
 */
public final class Producers {
    public static void main(String[] args) throws Exception {
        for (String codec : new String[] {"none", "gzip", "snappy", "lz4", "zstd"}) {
            produce(args[0], args[1], args[2], codec, Integer.parseInt(args[3]), Integer.parseInt(args[4]));
        }
    }

    private static void produce(String bootstrap, String topic, String acks, String codec, int records, int bytes)
            throws Exception {
        String id = "java-" + acks + "-" + codec;
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("client.id", id);
        properties.put("acks", acks);
        properties.put("enable.idempotence", Boolean.toString(acks.equals("all")));
        properties.put("compression.type", codec);
        properties.put("linger.ms", "20");
        // Averages over the whole life, not over its last minute.
        properties.put("metrics.sample.window.ms", "600000");
        try (KafkaProducer<byte[], byte[]> producer =
                new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int i = 0; i < records; i++) {
                byte[] key = Integer.toString(i).getBytes(StandardCharsets.UTF_8);
                producer.send(new ProducerRecord<>(topic, key, value(id, i, bytes)));
            }
            producer.flush();
            // It records the last answer after it has told of it, but before it has closed.
            Map<MetricName, Metric> metrics = new HashMap<>(producer.metrics());
            producer.close();
            StringBuilder line = new StringBuilder(id);
            for (Map.Entry<MetricName, Metric> metric : metrics.entrySet()) {
                MetricName name = metric.getKey();
                // Only those of the client as a whole.
                if (name.group().equals("producer-metrics") && name.tags().size() == 1) {
                    line.append(' ').append(name.name()).append(' ').append(metric.getValue().metricValue());
                }
            }
            System.out.println(line);
        }
    }

    private static byte[] value(String id, int number, int bytes) {
        StringBuilder text = new StringBuilder(id + " " + number + " ");
        while (text.length() < bytes) {
            text.append("the quick brown fox jumps over the lazy dog; ");
        }
        return Arrays.copyOf(text.toString().getBytes(StandardCharsets.UTF_8), bytes);
    }
}
