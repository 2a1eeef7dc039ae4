// Candles prints a topic of market-pipeline, one JSON line a record: a candle as symbol, time and OHLCV, others as
// they came.
//
//	candles [--namespace NS] [--from-beginning] [--count N] [TOPIC]
//
// Where Kafka is, and who reads, is said by the environment: KAFKA_BOOTSTRAP_SERVERS, KAFKA_SASL_USERNAME,
// KAFKA_SASL_PASSWORD, KAFKA_SSL_CA.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	namespace := flag.String("namespace", "", "stands before the topic's `name`, such as replay-7f3a.")
	fromBeginning := flag.Bool("from-beginning", false, "all that is there, not only what comes")
	count := flag.Int("count", 0, "end after so many `records`")
	flag.Parse()
	topic := *namespace + "candles.stocks.1m"
	if flag.NArg() > 0 {
		topic = *namespace + flag.Arg(0)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := read(ctx, topic, *fromBeginning, *count)
	if err != nil && ctx.Err() == nil { // after Ctrl-C every call fails, as it should
		fmt.Fprintf(os.Stderr, "candles: cannot read %s: %v\n", topic, err)
		os.Exit(1)
	}
}

// read prints records until count are printed (0: without end) or ctx is done.
func read(ctx context.Context, topic string, fromBeginning bool, count int) error {
	options, err := settings()
	if err != nil {
		return err
	}
	start := kgo.NewOffset().AtEnd()
	if fromBeginning {
		start = kgo.NewOffset().AtStart()
	}
	// All partitions by hand, no group. Where retention has overtaken us, go on with the oldest that is left.
	client, err := kgo.NewClient(append(options, kgo.ConsumeTopics(topic), kgo.ConsumeStartOffset(start),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := check(ctx, client, topic); err != nil {
		return err
	}
	so := &seen{src: map[int32][]int64{}, revisions: map[candleKey]int{}}
	for printed := 0; ; {
		fetches := client.PollFetches(ctx)
		if failed := fetches.Errors(); len(failed) > 0 { // what may pass by itself is not among them
			return failed[0].Err
		}
		for record := range fetches.RecordsAll() {
			text, err := so.text(record)
			if err != nil {
				return err
			}
			if text == "" {
				continue
			}
			fmt.Println(text)
			if printed++; printed == count {
				return nil
			}
		}
	}
}
