// A consumer group that falls behind, catches up, seeks and commits ahead, and a transaction that carries its offsets.
//
//   java -cp KAFKA-JARS Groups.java BOOTSTRAP TOPIC PROTOCOL FOLDER BOOTSTRAP
//
// The second bootstrap is for the producer of what the group falls behind by. PROTOCOL is classic or consumer. At each
// station it writes FOLDER/STATION, with what the consumer knows of itself as JSON, and goes on when FOLDER/STATION.go is
// there; meanwhile it polls. The group and all client ids begin with the topic's name. The topic has one partition.

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Groups {
  static final int MANY = 400;
  static final int MORE = 40;
  static final int SOUGHT_OVER = 20;
  static final int AHEAD = 5;

  static String bootstrap;
  static String topic;
  static Path folder;
  static TopicPartition partition;
  static int soughtOver;
  static int commitsAhead;

  public static void main(String[] args) throws Exception {
    bootstrap = args[0];
    topic = args[1];
    folder = Path.of(args[3]);
    partition = new TopicPartition(topic, 0);
    try (KafkaProducer<String, String> producer = producer(bootstrap, null);
        KafkaProducer<String, String> later = producer(args[4], null);
        KafkaConsumer<String, String> consumer = consumer(args[2])) {
      produce(producer, MANY);
      consumer.subscribe(List.of(topic));
      read(consumer, MANY);
      consumer.commitSync();
      station("read", consumer);

      rest(consumer);
      produce(later, MORE);
      station("behind", consumer);

      consumer.seek(partition, MANY + SOUGHT_OVER);
      consumer.resume(List.of(partition));
      read(consumer, MORE - SOUGHT_OVER);
      consumer.commitSync();
      rest(consumer);
      produce(later, 2 * AHEAD);
      consumer.commitSync(Map.of(partition, new OffsetAndMetadata(MANY + MORE + AHEAD)));
      soughtOver = SOUGHT_OVER;
      commitsAhead = 1;
      station("ahead", consumer);

      try (KafkaProducer<String, String> transactional = producer(bootstrap, topic + "-transaction")) {
        transactional.initTransactions();
        transactional.beginTransaction();
        transactional.send(new ProducerRecord<>(topic, 0, null, "in a transaction")).get();
        transactional.sendOffsetsToTransaction(
            Map.of(partition, new OffsetAndMetadata(MANY + MORE + AHEAD + 1)), consumer.groupMetadata());
        station("pending", consumer);
        transactional.commitTransaction();
        station("committed", consumer);
        transactional.beginTransaction();
        transactional.send(new ProducerRecord<>(topic, 0, null, "in vain")).get();
        transactional.sendOffsetsToTransaction(
            Map.of(partition, new OffsetAndMetadata(MANY + MORE + AHEAD + 2)), consumer.groupMetadata());
        transactional.abortTransaction();
        consumer.resume(List.of(partition));
        // The second marker is behind the record that was in vain.
        while (consumer.position(partition) < MANY + MORE + 2 * AHEAD + 4) consumer.poll(Duration.ofMillis(100));
        station("aborted", consumer);
      }
    }
  }

  static KafkaProducer<String, String> producer(String bootstrap, String transaction) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    properties.put("client.id", topic + "-producer");
    if (transaction != null) properties.put("transactional.id", transaction);
    return new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer());
  }

  static KafkaConsumer<String, String> consumer(String protocol) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    properties.put("client.id", topic + "-consumer");
    properties.put("group.id", topic + "-group");
    properties.put("group.protocol", protocol);
    properties.put("isolation.level", "read_committed");
    properties.put("auto.offset.reset", "earliest");
    properties.put("enable.auto.commit", "false");
    return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
  }

  static void produce(KafkaProducer<String, String> producer, int records) throws Exception {
    for (int i = 0; i < records; i++) producer.send(new ProducerRecord<>(topic, 0, null, "record " + i));
    producer.flush();
  }

  static void read(KafkaConsumer<String, String> consumer, int records) {
    for (int polled = 0; polled < records; ) {
      ConsumerRecords<String, String> some = consumer.poll(Duration.ofMillis(100));
      polled += some.count();
    }
  }

  /** A fetch that was under way must have ended, or it would bring what is produced next. */
  static void rest(KafkaConsumer<String, String> consumer) {
    consumer.pause(List.of(partition));
    long end = System.nanoTime() + 1_500_000_000L;
    while (System.nanoTime() < end || !total(consumer, "request-total").equals(total(consumer, "response-total"))) {
      consumer.poll(Duration.ofMillis(100));
    }
  }

  /** A metric of the whole client. */
  static Object total(KafkaConsumer<String, String> consumer, String name) {
    return consumer.metrics().values().stream()
        .filter(metric -> metric.metricName().name().equals(name))
        .filter(metric -> metric.metricName().tags().keySet().equals(Set.of("client-id")))
        .findFirst().orElseThrow().metricValue();
  }

  static void station(String name, KafkaConsumer<String, String> consumer) throws Exception {
    Path written = folder.resolve(name + ".new");
    Files.writeString(written, String.format(
        "{\"position\":%d,\"consumed\":%s,\"sought_over\":%d,\"ahead\":%d}",
        consumer.position(partition), total(consumer, "records-consumed-total"), soughtOver, commitsAhead));
    Files.move(written, folder.resolve(name), StandardCopyOption.ATOMIC_MOVE);
    while (!Files.exists(folder.resolve(name + ".go"))) consumer.poll(Duration.ofMillis(100));
  }
}
