// A Kafka client on franz-go, which shares no code with librdkafka or Kafka's own clients.
//
//	franz produce --bootstrap HOST:PORT,.. --client-id ID --topic T --acks 0|1|all --codec C --file F
//	franz consume --bootstrap HOST:PORT,.. --client-id ID --topic T --group G --records N
//
// It produces the lines KEY:VALUE of a file, or prints what it consumes as lines PARTITION VALUE. At its end it prints, as one
// JSON object, what the client knows of itself.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Bytes of a record batch before its records, which the client leaves out.
const batchHead = 61

type report struct {
	Records    int `json:"records"`
	Batches    int `json:"batches"`
	BatchBytes int `json:"batch_bytes"`
	Requests   int `json:"requests"`
	BytesOut   int `json:"bytes_out"` // written to sockets
	BytesIn    int `json:"bytes_in"`  // read from sockets

	mu sync.Mutex
}

func (r *report) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.ProduceBatchMetrics) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Records += m.NumRecords
	r.Batches++
	r.BatchBytes += m.CompressedBytes + batchHead
}

func (r *report) OnBrokerWrite(_ kgo.BrokerMetadata, _ int16, n int, _, _ time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.BytesOut += n
	if err == nil {
		r.Requests++
	}
}

func (r *report) OnBrokerRead(_ kgo.BrokerMetadata, _ int16, n int, _, _ time.Duration, _ error) {
	r.mu.Lock()
	r.BytesIn += n
	r.mu.Unlock()
}

func main() {
	if len(os.Args) < 2 || (os.Args[1] != "produce" && os.Args[1] != "consume") {
		fail(errors.New("usage: franz produce|consume --help"))
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	bootstrap := flags.String("bootstrap", "", "HOST:PORT,..")
	clientID := flags.String("client-id", "franz", "client id")
	topic := flags.String("topic", "", "topic")
	acks := flags.String("acks", "all", "0, 1 or all")
	codec := flags.String("codec", "none", "compression")
	file := flags.String("file", "", "what to produce")
	group := flags.String("group", "", "consumer group")
	records := flags.Int("records", 0, "how many to consume")
	flags.Parse(os.Args[2:])

	r := &report{}
	options := []kgo.Opt{kgo.SeedBrokers(strings.Split(*bootstrap, ",")...), kgo.ClientID(*clientID), kgo.WithHooks(r)}
	var err error
	if os.Args[1] == "produce" {
		err = r.produce(append(options, producing(*topic, *acks, *codec)...), *file)
	} else {
		err = consume(append(options, kgo.ConsumeTopics(*topic), kgo.ConsumerGroup(*group),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), *records)
	}
	if err != nil {
		fail(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	json.NewEncoder(os.Stdout).Encode(r)
}

func producing(topic, acks, codec string) []kgo.Opt {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	options := []kgo.Opt{kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(codecs[codec]),
		kgo.ProducerLinger(20 * time.Millisecond)}
	switch acks {
	case "0":
		options = append(options, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	case "1":
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	}
	return options
}

func (r *report) produce(options []kgo.Opt, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx := context.Background()
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	var failed error
	for _, line := range lines {
		key, value, _ := bytes.Cut(line, []byte(":"))
		client.Produce(ctx, &kgo.Record{Key: key, Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	// The records are flushed before the hook is told of their batch.
	for failed == nil && r.written() < len(lines) {
		time.Sleep(time.Millisecond)
	}
	return failed
}

func (r *report) written() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Records
}

func consume(options []kgo.Opt, records int) error {
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for read := 0; read < records; {
		fetches := client.PollFetches(context.Background())
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("after %d records: %w", read, err)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			fmt.Fprintf(out, "%d %s\n", record.Partition, record.Value)
			read++
		})
	}
	return client.CommitUncommittedOffsets(context.Background())
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "franz:", err)
	os.Exit(1)
}
