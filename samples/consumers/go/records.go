package main

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const revisionsHeld = 100_000 // candles whose revision is remembered

// head is what any record may have; topics that are not derived (trades.*, candles.live.*) carry no src.
type head struct {
	Kind string  `json:"kind"`
	Src  []int64 `json:"src"`
}

// candle holds what we print; prices are nil where no trade formed them. A json.Number stays as it was written.
type candle struct {
	Symbol      string `json:"symbol"`
	Interval    string `json:"interval"`
	Hours       string `json:"hours"`
	TimestampIn int64  `json:"timestamp_in"` // µs since the epoch, UTC
	Revision    int    `json:"revision"`
	Price       ohlcv  `json:"price"`
}

type ohlcv struct {
	Open   *json.Number `json:"open"`
	High   *json.Number `json:"high"`
	Low    *json.Number `json:"low"`
	Close  *json.Number `json:"close"`
	Volume json.Number  `json:"volume"`
}

// line is a candle in short; one with a higher revision replaces it.
type line struct {
	Symbol   string `json:"symbol"`
	Time     string `json:"time"`
	Interval string `json:"interval"`
	Hours    string `json:"hours"`
	Revision int    `json:"revision"`
	ohlcv
}

type candleKey struct {
	symbol, interval, hours string
	start                   int64
}

// seen is what was accepted so far: no record is taken twice, and no candle goes back to an older revision.
type seen struct {
	src       map[int32][]int64 // by partition; who reads several topics needs the topic beside it
	revisions map[candleKey]int
	order     []candleKey // as they came: the oldest are forgotten first
}

// accept is the reader's rule: in each partition src must grow; a writer that was replaced may repeat records.
func (s *seen) accept(partition int32, src []int64) bool {
	if src == nil {
		return true
	}
	if last, known := s.src[partition]; known && slices.Compare(src, last) <= 0 { // compares from left to right
		return false
	}
	s.src[partition] = src
	return true
}

// isNewest says whether this revision of the candle is newer than the one we have, if any.
func (s *seen) isNewest(c candle) bool {
	key := candleKey{c.Symbol, c.Interval, c.Hours, c.TimestampIn}
	held, known := s.revisions[key]
	if known && c.Revision <= held {
		return false
	}
	s.revisions[key] = c.Revision
	if !known {
		s.order = append(s.order, key)
	}
	if len(s.order) > revisionsHeld {
		delete(s.revisions, s.order[0])
		s.order = s.order[1:]
	}
	return true
}

// text is what to print of a record; empty where it is a repeat, or an older revision than the one we have.
func (s *seen) text(record *kgo.Record) (string, error) {
	if record.Value == nil { // a compacted topic's word that a key is gone
		return "", nil
	}
	var what head
	if err := json.Unmarshal(record.Value, &what); err != nil {
		return "", err
	}
	if !s.accept(record.Partition, what.Src) {
		return "", nil
	}
	if what.Kind != "candle" {
		return string(record.Value), nil
	}
	var c candle
	if err := json.Unmarshal(record.Value, &c); err != nil || !s.isNewest(c) {
		return "", err
	}
	start := time.UnixMicro(c.TimestampIn).UTC().Format("2006-01-02T15:04:05.000Z")
	short, err := json.Marshal(line{c.Symbol, start, c.Interval, c.Hours, c.Revision, c.Price})
	return string(short), err
}
