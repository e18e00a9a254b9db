import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Kafka's own client, driven by the tests: a command a line on standard input, an answer a line on standard output.
 *
 * <pre>
 * java -cp 'LIB/*' Client.java PROPERTIES
 *
 * create TOPIC PARTITIONS
 * send TOPIC PARTITION none|gzip|snappy|lz4|zstd VALUE...   base64, or - for no value; prints the offset of the last one
 * committed GROUP                                           TOPIC/PARTITION=OFFSET of each, sorted
 * members GROUP                                             how many there are
 * </pre>
 */
public final class Client {
    private final Properties settings = new Properties();
    private final Map<String, Producer<byte[], byte[]>> producers = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        var client = new Client();
        try (var file = new java.io.FileReader(arguments[0])) {
            client.settings.load(file);
        }
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (var admin = Admin.create(client.settings)) {
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                try {
                    System.out.println("ok " + client.run(admin, line.split(" ")));
                } catch (Exception error) {
                    System.out.println("error " + String.valueOf(error).replace('\n', ' '));
                }
            }
        }
    }

    private String run(Admin admin, String[] words) throws Exception {
        switch (words[0]) {
            case "create":
                admin.createTopics(List.of(new NewTopic(words[1], Integer.parseInt(words[2]), (short) 1))).all().get();
                return words[1];
            case "send":
                return send(words);
            case "committed": {
                var offsets = admin.listConsumerGroupOffsets(words[1]).partitionsToOffsetAndMetadata().get();
                return offsets.entrySet().stream()
                    .map(entry -> entry.getKey().topic() + "/" + entry.getKey().partition() + "=" + entry.getValue().offset())
                    .sorted().reduce((all, one) -> all + " " + one).orElse("");
            }
            case "members":
                return "" + admin.describeConsumerGroups(List.of(words[1])).all().get().get(words[1]).members().size();
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }

    private String send(String[] words) throws Exception {
        var producer = producers.computeIfAbsent(words[3], compression -> {
            var settings = new Properties();
            settings.putAll(this.settings);
            settings.put("compression.type", compression);
            settings.put("linger.ms", "5");
            settings.put("max.request.size", "" + (16 << 20));
            return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
        });
        var sent = new java.util.ArrayList<java.util.concurrent.Future<org.apache.kafka.clients.producer.RecordMetadata>>();
        for (int at = 4; at < words.length; at++) {
            byte[] value = words[at].equals("-") ? null : Base64.getDecoder().decode(words[at]);
            sent.add(producer.send(new ProducerRecord<>(words[1], Integer.parseInt(words[2]), null, value)));
        }
        producer.flush();
        long last = -1;
        for (var one : sent) {
            last = one.get().offset();
        }
        return "" + last;
    }
}
