// A Kafka client on franz-go, which shares no code with librdkafka or Kafka's own clients.
//
//	franz produce --bootstrap HOST:PORT,.. --topic T --records N --size BYTES --acks 0|1|all --codec none|gzip|snappy|lz4|zstd
//	franz consume --bootstrap HOST:PORT,.. --topic T --records N --group G
//
// Record i of a topic has the key "i". It prints, as one JSON object, what the client knows of itself.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type report struct {
	Records      int            `json:"records"`
	Batches      int            `json:"batches"`
	BatchBytes   int            `json:"batch_bytes"` // without the 61 bytes of each batch's head
	Codecs       map[string]int `json:"codecs"`      // batches by codec
	BytesOut     int            `json:"bytes_out"`   // written to sockets
	BytesIn      int            `json:"bytes_in"`    // read from sockets
	OutOfOrder   int            `json:"out_of_order"`
	DistinctKeys int            `json:"distinct_keys"`

	mu sync.Mutex
}

var codecNames = []string{"none", "gzip", "snappy", "lz4", "zstd"}

func (r *report) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.ProduceBatchMetrics) {
	r.batch(m.NumRecords, m.CompressedBytes, m.CompressionType)
}

func (r *report) OnFetchBatchRead(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.FetchBatchMetrics) {
	r.batch(0, m.CompressedBytes, m.CompressionType)
}

func (r *report) OnBrokerWrite(_ kgo.BrokerMetadata, _ int16, n int, _, _ time.Duration, _ error) {
	r.mu.Lock()
	r.BytesOut += n
	r.mu.Unlock()
}

func (r *report) OnBrokerRead(_ kgo.BrokerMetadata, _ int16, n int, _, _ time.Duration, _ error) {
	r.mu.Lock()
	r.BytesIn += n
	r.mu.Unlock()
}

func (r *report) batch(records, bytes int, codec uint8) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Records += records
	r.Batches++
	r.BatchBytes += bytes
	r.Codecs[codecNames[codec]]++
}

func main() {
	if len(os.Args) < 2 || (os.Args[1] != "produce" && os.Args[1] != "consume") {
		fail(errors.New("usage: franz produce|consume --help"))
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	bootstrap := flags.String("bootstrap", "", "HOST:PORT,..")
	topic := flags.String("topic", "", "topic")
	clientID := flags.String("client-id", "franz", "client id")
	group := flags.String("group", "", "consumer group")
	acks := flags.String("acks", "all", "0, 1 or all")
	codec := flags.String("codec", "none", "compression")
	records := flags.Int("records", 1000, "how many")
	size := flags.Int("size", 1024, "bytes of each value")
	limit := flags.Duration("limit", time.Minute, "give up after")
	flags.Parse(os.Args[2:])

	r := &report{Codecs: map[string]int{}}
	options := []kgo.Opt{kgo.SeedBrokers(strings.Split(*bootstrap, ",")...), kgo.ClientID(*clientID), kgo.WithHooks(r)}
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	var err error
	if os.Args[1] == "produce" {
		err = r.produce(ctx, append(options, producing(*topic, *acks, *codec)...), *records, *size)
	} else {
		err = r.consume(ctx, append(options, kgo.ConsumeTopics(*topic), kgo.ConsumerGroup(*group),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), *records)
	}
	if err != nil {
		fail(err)
	}
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

func (r *report) produce(ctx context.Context, options []kgo.Opt, records, size int) error {
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	line := []byte("the quick brown fox jumps over the lazy dog; ")
	value := bytes.Repeat(line, size/len(line)+1)[:size]
	var failed error
	for i := range records {
		client.Produce(ctx, &kgo.Record{Key: []byte(strconv.Itoa(i)), Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed = err
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	// The records are flushed before the hook is told of their batch.
	for failed == nil && r.written() < records && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	return failed
}

func (r *report) written() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Records
}

func (r *report) consume(ctx context.Context, options []kgo.Opt, records int) error {
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	last := map[int32]int{}
	keys := map[int]bool{}
	for r.Records < records {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("after %d records: %w", r.Records, err)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			key, err := strconv.Atoi(string(record.Key))
			if previous, seen := last[record.Partition]; err != nil || seen && key <= previous {
				r.OutOfOrder++
			}
			last[record.Partition] = key
			keys[key] = true
			r.Records++
		})
	}
	r.DistinctKeys = len(keys)
	return client.CommitUncommittedOffsets(ctx)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "franz:", err)
	os.Exit(1)
}
