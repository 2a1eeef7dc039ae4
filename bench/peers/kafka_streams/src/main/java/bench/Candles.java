package bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.Stores;

/** Kafka Streams: its windowed aggregation in memory with cache and changelog, closed windows only; one thread. */
public final class Candles {
    private static final Duration WINDOW = Duration.ofSeconds(15);
    private static final byte[] CLOCK = "{\"kind\":\"clock\"".getBytes(StandardCharsets.UTF_8);
    private static final JsonFactory JSON = new JsonFactory();

    private Candles() {
    }

    /** The fields that candles need; ts in microseconds. The symbol is the record's key. */
    record Trade(long ts, double price, double size) {
        /** One record's value; null for a clock. */
        static Trade parse(byte[] value) {
            if (value == null || java.util.Arrays.equals(value, 0, CLOCK.length, CLOCK, 0, CLOCK.length)) {
                return null;
            }
            long ts = 0;
            double price = 0;
            double size = 0;
            try (JsonParser parser = JSON.createParser(value)) {
                parser.nextToken();
                while (parser.nextToken() == JsonToken.FIELD_NAME) {
                    String name = parser.currentName();
                    parser.nextToken();
                    switch (name) {
                        case "ts" -> ts = parser.getLongValue();
                        case "stock_price" -> price = parser.getDoubleValue();
                        case "stock_size" -> size = parser.getDoubleValue();
                        default -> parser.skipChildren();
                    }
                }
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
            return new Trade(ts, price, size);
        }
    }

    /** One window's candle under way. */
    record Candle(double open, double high, double low, double close, double volume, long count) {
        Candle add(Trade trade) {
            double price = trade.price();
            if (count == 0) {
                return new Candle(price, price, price, price, trade.size(), 1);
            }
            return new Candle(open, Math.max(high, price), Math.min(low, price), price, volume + trade.size(), count + 1);
        }

        byte[] bytes() {
            return ByteBuffer.allocate(48).putDouble(open).putDouble(high).putDouble(low).putDouble(close)
                .putDouble(volume).putLong(count).array();
        }

        static Candle of(byte[] bytes) {
            ByteBuffer in = ByteBuffer.wrap(bytes);
            return new Candle(
                in.getDouble(), in.getDouble(), in.getDouble(), in.getDouble(), in.getDouble(), in.getLong());
        }

        byte[] json(String symbol, long startMs) {
            String text = "{\"symbol\":\"" + symbol + "\",\"start\":" + startMs * 1000 + ",\"open\":" + open
                + ",\"high\":" + high + ",\"low\":" + low + ",\"close\":" + close + ",\"volume\":" + volume
                + ",\"count\":" + count + "}";
            return text.getBytes(StandardCharsets.UTF_8);
        }
    }

    private static long happened(ConsumerRecord<Object, Object> record, long newest) {
        return record.value() instanceof Trade trade ? trade.ts() / 1000 : Math.max(newest, 0);
    }

    private static StreamsBuilder topology(String source, String output) {
        Serde<Trade> trades = Serdes.serdeFrom((topic, trade) -> null, (topic, value) -> Trade.parse(value));
        Serde<Candle> candles = Serdes.serdeFrom(
            (topic, candle) -> candle == null ? null : candle.bytes(),
            (topic, bytes) -> bytes == null ? null : Candle.of(bytes));
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(source, Consumed.with(Serdes.String(), trades).withTimestampExtractor(Candles::happened))
            .filter((symbol, trade) -> trade != null)
            .groupByKey(Grouped.with(Serdes.String(), trades))
            .windowedBy(TimeWindows.ofSizeWithNoGrace(WINDOW))
            .aggregate(
                () -> new Candle(0, 0, 0, 0, 0, 0),
                (symbol, trade, candle) -> candle.add(trade),
                Materialized.<String, Candle>as(
                        Stores.inMemoryWindowStore("candles", WINDOW.multipliedBy(2), WINDOW, false))
                    .withKeySerde(Serdes.String()).withValueSerde(candles).withCachingEnabled())
            .suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()))
            .toStream()
            .map((window, candle) -> KeyValue.pair(window.key(), candle.json(window.key(), window.window().start())))
            .to(output, Produced.with(Serdes.String(), Serdes.ByteArray()));
        return builder;
    }

    /** Runs until SIGTERM. */
    public static void main(String[] arguments) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, System.getenv("GROUP"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("BOOTSTRAP"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, "state");
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        // What the cache holds goes on only at a commit: often, so that the first and the last candle come when due.
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 200);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L * 1024 * 1024);
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
        KafkaStreams streams =
            new KafkaStreams(topology(System.getenv("SOURCE"), System.getenv("OUTPUT")).build(), settings);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return null;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(5))));
        streams.start();
    }
}
