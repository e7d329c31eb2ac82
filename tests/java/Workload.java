// Real Kafka clients that work at a set pace and say afterwards what they measured of themselves.
//
//   java -cp KAFKA-JARS Workload.java SPEC.json
//
// SPEC: {"clients":[{"id","role":"produce"|"consume","phase","topic","records_per_second","record_bytes",
// "transaction_ms","instances":[{client configuration}]}]}. A client with several instances is several Kafka clients
// that share the id and the work; one with "ledger": false works, but is not reported.
//
// Commands on stdin: `run PHASE SECONDS` lets the producers of that phase work, then flushes and closes them; `drain`
// lets the consumers read to the end of their partitions, closes them and prints the result. One JSON object a line on
// stdout: {"event":"ready"}, {"event":"done","phase"}, {"event":"result","clients":[..]}, {"event":"failed","error"}.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.MetricName;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Workload {
  static final ObjectMapper JSON = new ObjectMapper();
  static final List<Client> CLIENTS = new ArrayList<>();

  public static void main(String[] args) throws Exception {
    for (JsonNode spec : JSON.readTree(new File(args[0])).get("clients")) CLIENTS.add(new Client(spec));
    try {
      for (Client client : CLIENTS) if (client.consumes()) client.start(0);
      for (Client client : CLIENTS) if (client.consumes()) client.assigned.await();
      say(event("ready"));
      BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
      for (String line; (line = commands.readLine()) != null; ) {
        String[] words = line.trim().split(" ");
        switch (words[0]) {
          case "run" -> run(words[1], Double.parseDouble(words[2]));
          case "drain" -> {
            drain();
            return;
          }
          default -> throw new IllegalArgumentException("unknown command: " + line);
        }
      }
      // Whoever commanded us is gone.
      Runtime.getRuntime().halt(2);
    } catch (Throwable failure) {
      fail(failure);
    }
  }

  static void run(String phase, double seconds) throws InterruptedException {
    List<Client> workers = CLIENTS.stream().filter(client -> !client.consumes() && client.phase.equals(phase)).toList();
    for (Client client : workers) client.start(seconds);
    for (Client client : workers) client.join();
    say(event("done").put("phase", phase));
  }

  static void drain() throws InterruptedException {
    for (Client client : CLIENTS) client.draining = true;
    for (Client client : CLIENTS) client.join();
    ObjectNode result = event("result");
    ArrayNode clients = result.putArray("clients");
    for (Client client : CLIENTS) if (client.spec.path("ledger").asBoolean(true)) clients.add(client.report);
    say(result);
  }

  static ObjectNode event(String name) {
    return JSON.createObjectNode().put("event", name);
  }

  static synchronized void say(ObjectNode event) {
    System.out.println(event);
    System.out.flush();
  }

  static void fail(Throwable failure) {
    failure.printStackTrace();
    say(event("failed").put("error", failure.toString()));
    Runtime.getRuntime().halt(1);
  }

  /** One line of the specification: a client id, and the Kafka clients that bear it. */
  static final class Client {
    final JsonNode spec;
    final String phase;
    final CountDownLatch assigned;
    final CountDownLatch drained;
    final ObjectNode report = JSON.createObjectNode();
    private final List<Thread> threads = new ArrayList<>();
    private final Map<TopicPartition, Integer> owners = new HashMap<>();
    volatile boolean draining;

    Client(JsonNode spec) {
      this.spec = spec;
      phase = spec.path("phase").asText();
      assigned = new CountDownLatch(1);
      drained = new CountDownLatch(spec.get("instances").size());
      report.put("id", spec.get("id").asText()).putArray("instances");
    }

    boolean consumes() {
      return spec.get("role").asText().equals("consume");
    }

    void start(double seconds) {
      int index = 0;
      for (JsonNode configuration : spec.get("instances")) {
        int instance = index++;
        Properties properties = new Properties();
        configuration.properties().forEach(entry -> properties.put(entry.getKey(), entry.getValue().asText()));
        properties.put("client.id", spec.get("id").asText());
        Thread thread = new Thread(() -> {
          try {
            if (consumes()) consume(properties, instance);
            else produce(properties, instance, seconds);
          } catch (Throwable failure) {
            fail(failure);
          }
        }, spec.get("id").asText() + "#" + instance);
        threads.add(thread);
        thread.start();
      }
    }

    void join() throws InterruptedException {
      for (Thread thread : threads) thread.join();
    }

    private void produce(Properties properties, int instance, double seconds) {
      Random random = new Random(spec.get("id").asText().hashCode() + instance);
      String topic = spec.get("topic").asText();
      int recordBytes = spec.get("record_bytes").asInt();
      double perSecond = spec.get("records_per_second").asDouble() / spec.get("instances").size();
      long transactionNanos = spec.path("transaction_ms").asLong() * 1_000_000;
      AtomicLong accepted = new AtomicLong();
      KafkaProducer<byte[], byte[]> producer =
          new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
      if (transactionNanos > 0) {
        producer.initTransactions();
        producer.beginTransaction();
      }
      long begin = System.nanoTime();
      long end = begin + (long) (seconds * 1e9);
      long commitAt = begin + transactionNanos;
      long sent = 0;
      for (long now = begin; now < end; now = System.nanoTime()) {
        for (long due = (long) ((now - begin) / 1e9 * perSecond); sent < due; sent++) {
          producer.send(new ProducerRecord<>(topic, payload(random, recordBytes)), (metadata, failure) -> {
            if (failure != null) fail(failure);
            accepted.incrementAndGet();
          });
        }
        if (transactionNanos > 0 && now >= commitAt) {
          producer.commitTransaction();
          producer.beginTransaction();
          commitAt = System.nanoTime() + transactionNanos;
        }
        LockSupport.parkNanos(2_000_000);
      }
      if (transactionNanos > 0) producer.commitTransaction();
      producer.flush();
      Map<MetricName, Metric> metrics = new HashMap<>(producer.metrics());
      producer.close();
      record(accepted.get(), metrics);
    }

    private void consume(Properties properties, int instance) throws InterruptedException {
      String topic = spec.get("topic").asText();
      KafkaConsumer<byte[], byte[]> consumer =
          new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
      int partitions = consumer.partitionsFor(topic).size();
      consumer.subscribe(List.of(topic));
      long polled = 0;
      boolean counted = false;
      while (drained.getCount() > 0) {
        ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(100));
        polled += records.count();
        own(consumer.assignment(), instance, partitions);
        if (draining && !counted && records.isEmpty() && atEnd(consumer)) {
          drained.countDown();
          counted = true;
        }
      }
      Map<MetricName, Metric> metrics = new HashMap<>(consumer.metrics());
      consumer.close();
      record(polled, metrics);
    }

    private synchronized void own(Set<TopicPartition> assignment, int instance, int partitions) {
      owners.values().removeIf(owner -> owner == instance);
      assignment.forEach(partition -> owners.put(partition, instance));
      // Every instance must have its share, else one that joins late would read nothing.
      boolean everyone = owners.values().stream().distinct().count() == spec.get("instances").size();
      if (everyone && owners.size() == partitions) assigned.countDown();
    }

    private static boolean atEnd(KafkaConsumer<byte[], byte[]> consumer) {
      return consumer.endOffsets(consumer.assignment()).entrySet().stream()
          .allMatch(end -> consumer.position(end.getKey()) >= end.getValue());
    }

    // The objects of the metrics outlive their registry: read after close(), they include what close() itself sent.
    private synchronized void record(long records, Map<MetricName, Metric> metrics) {
      ObjectNode instance = ((ArrayNode) report.get("instances")).addObject().put("records", records);
      ObjectNode groups = instance.putObject("metrics");
      metrics.forEach((name, metric) -> {
        boolean ofTheClient = name.tags().size() == 1 && name.tags().containsKey("client-id");
        if (ofTheClient && metric.metricValue() instanceof Double value && !value.isNaN() && !value.isInfinite()) {
          groups.withObject("/" + name.group()).put(name.name(), value);
        }
      });
    }
  }

  /** Half random, half the same: it compresses, but not to nothing. */
  static byte[] payload(Random random, int bytes) {
    byte[] payload = new byte[bytes];
    for (int i = 0; i < bytes; i++) payload[i] = (byte) (i % 2 == 0 ? 'a' + random.nextInt(26) : '.');
    return payload;
  }
}
