package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

const patience = 15 * time.Second // how long Kafka may take to answer at the start

// settings is what the client needs to know. A password is sent over TLS alone, so a user means SASL over TLS.
func settings() ([]kgo.Opt, error) {
	servers := os.Getenv("KAFKA_BOOTSTRAP_SERVERS")
	if servers == "" {
		servers = "127.0.0.1:9092"
	}
	found := []kgo.Opt{kgo.SeedBrokers(strings.Split(servers, ",")...)}
	user, password := os.Getenv("KAFKA_SASL_USERNAME"), os.Getenv("KAFKA_SASL_PASSWORD")
	authority := os.Getenv("KAFKA_SSL_CA")
	if (user == "") != (password == "") {
		return nil, errors.New("KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD go together")
	}
	if user != "" {
		found = append(found, kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism()))
	}
	if user == "" && authority == "" {
		return found, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if authority != "" { // else the system's authorities are trusted
		pem, err := os.ReadFile(authority)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", authority)
		}
	}
	return append(found, kgo.DialTLSConfig(config)), nil
}

// check asks Kafka for the topic, so that what is wrong shows at once; the client itself would try on without a word.
func check(ctx context.Context, client *kgo.Client, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	wanted := kmsg.NewMetadataRequestTopic()
	wanted.Topic = kmsg.StringPtr(topic)
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = append(request.Topics, wanted)
	answer, err := request.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(answer.Topics[0].ErrorCode)
}
