//! Messages through Kafka: PRODUCER spans, and CONSUMER spans that run later, in other services, with
//! links to the producers.

use crate::fleet::{Member, Scope};
use crate::message::Message;
use crate::stage::{Opening, Parent, Stage, Work};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use std::time::SystemTime;

/// Publishes a message.
pub(crate) fn publish(stage: &mut Stage, work: &mut Work, topic: &'static str, key: &str) -> Message {
    let partition = stage.rng.between(0, 5).to_string();
    let id = stage.rng.token();
    let opening = Opening::new(Scope::Messaging, SpanKind::Producer, format!("send {topic}"))
        .with(common(topic, "send", "send"))
        .with([
            KeyValue::new("messaging.message.id", id.clone()),
            KeyValue::new("messaging.destination.partition.id", partition.clone()),
            KeyValue::new("messaging.kafka.message.key", key.to_owned()),
        ]);
    let mut producer = stage.child(work, opening);
    let context = producer.context().clone();
    producer.pass(stage.around(3.0));
    work.now = stage.close(producer);
    Message { topic, published: work.now, id, partition, producer: context }
}

/// A consumer that works in the trace of its message, as a child of the producer.
pub(crate) fn process_in_same_trace(
    stage: &mut Stage,
    member: Member,
    group: &'static str,
    message: &Message,
    at: SystemTime,
) -> Work {
    stage.open(member, Parent::Remote(&message.producer), processing(group, message), at)
}

/// A consumer that starts a trace of its own, linked to the producer.
pub(crate) fn process_in_own_trace(
    stage: &mut Stage,
    member: Member,
    group: &'static str,
    message: &Message,
    at: SystemTime,
) -> Work {
    stage.open(member, Parent::None, processing(group, message), at)
}

/// A consumer that takes many messages at once, in a trace of its own with a link to each producer.
pub(crate) fn process_batch(
    stage: &mut Stage,
    member: Member,
    group: &'static str,
    topic: &'static str,
    messages: &[Message],
    at: SystemTime,
) -> Work {
    let opening = Opening::new(Scope::Messaging, SpanKind::Consumer, format!("process {topic}"))
        .with(common(topic, "process", "process"))
        .with([
            KeyValue::new("messaging.consumer.group.name", group),
            KeyValue::new("messaging.batch.message_count", messages.len() as i64),
        ])
        .linked_to(messages.iter().map(Message::link));
    stage.open(member, Parent::None, opening, at)
}

fn processing(group: &'static str, message: &Message) -> Opening {
    Opening::new(Scope::Messaging, SpanKind::Consumer, format!("process {}", message.topic))
        .with(common(message.topic, "process", "process"))
        .with([
            KeyValue::new("messaging.consumer.group.name", group),
            KeyValue::new("messaging.message.id", message.id.clone()),
            KeyValue::new("messaging.destination.partition.id", message.partition.clone()),
        ])
        .linked_to([message.link()])
}

fn common(topic: &'static str, operation: &'static str, operation_type: &'static str) -> [KeyValue; 6] {
    [
        KeyValue::new("messaging.system", "kafka"),
        KeyValue::new("messaging.destination.name", topic),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", operation_type),
        KeyValue::new("server.address", "kafka.shop.svc.cluster.local"),
        KeyValue::new("server.port", 9092),
    ]
}
