"""A Kafka client on kafka-python, which is all Python but for its codecs.

    client.py produce --bootstrap HOST:PORT,.. --client-id ID --topic T --acks 0|1|all --codec C --file F
    client.py consume --bootstrap HOST:PORT,.. --client-id ID --topic T --group G --records N

It produces the lines KEY:VALUE of a file, or prints what it consumes as lines PARTITION VALUE. At its end it prints, as one
JSON object, what the client knows of itself.
"""

import argparse
import json
import logging
import time

from kafka import KafkaConsumer, KafkaProducer

# Figures are of the whole life of the client, not of its last minute.
WINDOW = {"metrics_sample_window_ms": 3_600_000}


class Requests(logging.Handler):
    """Counts requests by what the connections log of each. The client's own figures are of writes to sockets."""

    def __init__(self):
        super().__init__()
        self.apis = {}
        connections = logging.getLogger("kafka.net.connection")
        connections.setLevel(logging.DEBUG)
        connections.propagate = False
        connections.addHandler(self)

    def emit(self, record):
        if not record.msg.startswith("%s Request "):
            return
        request = record.args[2]
        version = request.API_VERSION
        api = self.apis.setdefault(
            request.name.removesuffix("Request"), {"requests": 0, "min_version": version, "max_version": version}
        )
        api["requests"] += 1
        api["min_version"] = min(api["min_version"], version)
        api["max_version"] = max(api["max_version"], version)


def produce(arguments, config):
    acks = arguments.acks if arguments.acks == "all" else int(arguments.acks)
    codec = None if arguments.codec == "none" else arguments.codec
    producer = KafkaProducer(acks=acks, compression_type=codec, linger_ms=20, **config)
    with open(arguments.file, "rb") as lines:
        sent = [producer.send(arguments.topic, key=key, value=value) for key, value in map(split, lines)]
    producer.flush()
    for future in sent:
        future.get()
    metrics = Metrics(producer, "producer-metrics")
    producer.close()
    batch_bytes = metrics.total("byte-rate")
    return metrics, {
        "records": metrics.total("record-send-rate"),
        "batches": round(batch_bytes / metrics.value("batch-size-avg")),
        "batch_bytes": batch_bytes,
    }


def split(line):
    return line.rstrip(b"\n").split(b":", 1)


def consume(arguments, config):
    consumer = KafkaConsumer(arguments.topic, group_id=arguments.group, auto_offset_reset="earliest", **config)
    records = 0
    while records < arguments.records:
        for batch in consumer.poll(timeout_ms=1000).values():
            for record in batch:
                print(record.partition, record.value.decode())
                records += 1
    metrics = Metrics(consumer, "consumer-metrics")
    consumer.close()
    return metrics, {}


class Metrics:
    """A client's own figures. Its list of them is emptied when it closes, but they go on until then."""

    def __init__(self, client, group):
        metrics = client.metrics(raw=True)
        self.by_name = {name.name: metric for name, metric in metrics.items() if name.group == group}

    def value(self, name):
        return self.by_name[name].value()

    def total(self, name):
        """What a rate is the rate of."""
        metric = self.by_name[name]
        now = time.monotonic() * 1000
        return round(metric.value(now) * metric.measurable.window_size(metric.config, now) / 1000)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["produce", "consume"])
    for text in ["bootstrap", "client-id", "topic", "acks", "codec", "file", "group"]:
        parser.add_argument(f"--{text}")
    parser.add_argument("--records", type=int)
    arguments = parser.parse_args()
    config = {"bootstrap_servers": arguments.bootstrap.split(","), "client_id": arguments.client_id, **WINDOW}
    requests = Requests()
    metrics, told = (produce if arguments.command == "produce" else consume)(arguments, config)
    told["bytes_out"] = metrics.total("outgoing-byte-rate")
    told["bytes_in"] = metrics.total("incoming-byte-rate")
    told["requests"] = sum(api["requests"] for api in requests.apis.values())
    told["apis"] = requests.apis
    print(json.dumps(told))


main()
