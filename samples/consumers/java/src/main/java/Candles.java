import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.temporal.ChronoUnit;
import java.util.*;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Prints a topic of market-pipeline, one JSON line a record: a candle as symbol, time and OHLCV, others as they came.
 *
 * <pre>Candles [--namespace NS] [--from-beginning] [--count N] [TOPIC]</pre>
 *
 * Where Kafka is, and who reads, is said by the environment: KAFKA_BOOTSTRAP_SERVERS, KAFKA_SASL_USERNAME,
 * KAFKA_SASL_PASSWORD, KAFKA_SSL_CA.
 */
public final class Candles {
    private static final Duration PATIENCE = Duration.ofSeconds(15); // how long Kafka may take to answer at the start
    private static final int REVISIONS_HELD = 100_000; // candles whose revision is remembered
    private static final DateTimeFormatter TIME =
            DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSX").withZone(ZoneOffset.UTC);

    private final Map<TopicPartition, long[]> lastSrc = new HashMap<>();
    private final Map<String, Integer> revisions = new LinkedHashMap<>() {
        @Override
        protected boolean removeEldestEntry(Map.Entry<String, Integer> eldest) {
            return size() > REVISIONS_HELD;
        }
    };

    record Options(String topic, boolean fromBeginning, long count) {
        static Options of(String[] args) {
            String topic = "candles.stocks.1m";
            String namespace = "";
            boolean fromBeginning = false;
            long count = 0; // without end
            for (Iterator<String> words = List.of(args).iterator(); words.hasNext(); ) {
                String word = words.next();
                switch (word) {
                    case "--namespace" -> namespace = words.next();
                    case "--from-beginning" -> fromBeginning = true;
                    case "--count" -> count = Long.parseLong(words.next());
                    default -> {
                        if (word.startsWith("-")) throw new IllegalArgumentException("unknown option " + word);
                        topic = word;
                    }
                }
            }
            return new Options(namespace + topic, fromBeginning, count);
        }
    }

    public static void main(String[] args) {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "warn");
        Options options;
        try {
            options = Options.of(args);
        } catch (IllegalArgumentException | NoSuchElementException error) {
            System.err.println("usage: Candles [--namespace NS] [--from-beginning] [--count N] [TOPIC]");
            System.exit(2);
            return;
        }
        int status = 0;
        CountDownLatch done = new CountDownLatch(1);
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings(System.getenv()))) {
            stopOnSignal(consumer, done);
            new Candles().read(consumer, options);
        } catch (WakeupException signal) {
            // Ctrl-C; the consumer is closed by now
        } catch (KafkaException | IllegalArgumentException error) {
            System.err.println("candles: cannot read " + options.topic() + ": " + error.getMessage());
            status = 1;
        } finally {
            done.countDown();
        }
        if (status != 0) System.exit(status);
    }

    /** Ctrl-C and SIGTERM wake the consumer up, and the JVM ends once it is closed. */
    private static void stopOnSignal(KafkaConsumer<String, String> consumer, CountDownLatch done) {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            if (done.getCount() == 0) return;
            consumer.wakeup(); // the one method that another thread may call
            try {
                done.await();
            } catch (InterruptedException interrupted) {
                // nobody does that, and the JVM ends in any case
            }
        }));
    }

    /** What the client needs to know. A password is sent over TLS alone, so a user means SASL_SSL. */
    static Properties settings(Map<String, String> env) {
        Properties found = new Properties();
        found.put("bootstrap.servers", env.getOrDefault("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092"));
        found.put("key.deserializer", StringDeserializer.class);
        found.put("value.deserializer", StringDeserializer.class);
        found.put("allow.auto.create.topics", false);
        found.put("auto.offset.reset", "earliest"); // where retention has overtaken us, go on with the oldest left
        String user = env.getOrDefault("KAFKA_SASL_USERNAME", "");
        String password = env.getOrDefault("KAFKA_SASL_PASSWORD", "");
        String authority = env.getOrDefault("KAFKA_SSL_CA", "");
        if (user.isEmpty() != password.isEmpty()) {
            throw new IllegalArgumentException("KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD go together");
        }
        if (!user.isEmpty()) {
            found.put("sasl.mechanism", "SCRAM-SHA-512");
            found.put("sasl.jaas.config", "org.apache.kafka.common.security.scram.ScramLoginModule required username="
                    + quoted(user) + " password=" + quoted(password) + ";");
        }
        if (!user.isEmpty() || !authority.isEmpty()) {
            found.put("security.protocol", user.isEmpty() ? "SSL" : "SASL_SSL");
        }
        if (!authority.isEmpty()) { // else the JVM's authorities are trusted
            found.put("ssl.truststore.type", "PEM");
            found.put("ssl.truststore.location", authority);
        }
        return found;
    }

    private static String quoted(String word) {
        return '"' + word.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }

    /** Prints records until as many as wanted are printed. Partitions are assigned by hand: no group, no position. */
    private void read(KafkaConsumer<String, String> consumer, Options options) {
        List<PartitionInfo> found = consumer.partitionsFor(options.topic(), PATIENCE);
        if (found == null || found.isEmpty()) throw new KafkaException("there is no such topic");
        List<TopicPartition> partitions =
                found.stream().map(one -> new TopicPartition(one.topic(), one.partition())).toList();
        consumer.assign(partitions);
        if (options.fromBeginning()) consumer.seekToBeginning(partitions);
        else consumer.seekToEnd(partitions);
        long printed = 0;
        while (true) {
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(1))) {
                String line = line(record);
                if (line == null) continue;
                System.out.println(line);
                if (++printed == options.count()) return;
            }
        }
    }

    /** What to print of a record; null where it is a repeat, or an older revision than the one we have. */
    private String line(ConsumerRecord<String, String> message) {
        if (message.value() == null) return null; // a compacted topic's word that a key is gone
        JsonObject record = JsonParser.parseString(message.value()).getAsJsonObject();
        if (!accept(new TopicPartition(message.topic(), message.partition()), record.get("src"))) return null;
        if (!record.get("kind").getAsString().equals("candle")) return message.value();
        return isNewest(record) ? inShort(record) : null;
    }

    /** The reader's rule: in each partition src must grow; a writer that was replaced may repeat records. */
    private boolean accept(TopicPartition partition, JsonElement field) {
        if (field == null) return true; // topics that are not derived (trades.*, candles.live.*) carry none
        long[] src = field.getAsJsonArray().asList().stream().mapToLong(JsonElement::getAsLong).toArray();
        long[] last = lastSrc.get(partition);
        if (last != null && Arrays.compare(src, last) <= 0) return false; // compares from left to right
        lastSrc.put(partition, src);
        return true;
    }

    /** Whether this revision of the candle is newer than the one we have, if any. */
    private boolean isNewest(JsonObject candle) {
        String key = candle.get("symbol") + " " + candle.get("interval") + " " + candle.get("hours") + " "
                + candle.get("timestamp_in");
        int revision = candle.get("revision").getAsInt();
        if (revision <= revisions.getOrDefault(key, -1)) return false;
        revisions.put(key, revision);
        return true;
    }

    /** A candle in short, prices null where no trade formed them; a line with a higher revision replaces it. */
    private static String inShort(JsonObject candle) {
        JsonObject line = new JsonObject();
        line.add("symbol", candle.get("symbol"));
        Instant start = Instant.EPOCH.plus(candle.get("timestamp_in").getAsLong(), ChronoUnit.MICROS);
        line.addProperty("time", TIME.format(start));
        for (String name : List.of("interval", "hours", "revision")) line.add(name, candle.get(name));
        JsonObject price = candle.getAsJsonObject("price");
        for (String name : List.of("open", "high", "low", "close", "volume")) line.add(name, price.get(name));
        return line.toString(); // Gson keeps each number as it was written
    }
}
