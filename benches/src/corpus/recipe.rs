//! Makes the attributes of an operation's spans, named by OpenTelemetry's conventions. Constant attributes are encoded
//! once; the others are drawn or taken from the shopper.

use std::fmt::Write as _;

use fastrand::Rng;

use super::encode::{SPAN_ATTRIBUTE, Value, attribute, span_attribute};
use super::operations::{Operation, Via};
use super::pools::Pools;
use super::services::Service;
use super::shopper::Shopper;

/// Attributes of the spans of one operation, or of its callers.
pub(super) struct Recipe {
    constant: Vec<u8>,
    varying: Varying,
}

/// Attributes that differ from span to span.
enum Varying {
    Request { path: Text, is_search: bool },
    InnerCall { url: Text },
    OutsideCall { url: Text },
    Rpc,
    Statement,
    Cache { text: Text },
    Message,
    Step,
}

/// A text with placeholders.
struct Text(Vec<Piece>);

enum Piece {
    Fixed(String),
    Product,
    Category,
    User,
    Session,
    Order,
    Random,
}

const DATABASE_PORTS: [(&str, i64); 4] =
    [("postgresql", 5432), ("mysql", 3306), ("elasticsearch", 9200), ("mongodb", 27_017)];

// === impl Recipe ===

impl Recipe {
    /// For the side that serves the operation.
    pub(super) fn of(operation: &Operation) -> Self {
        let owner = operation.service.facts().name;
        match operation.via {
            Via::Http { path } => Self::request(operation.service, operation.name, path),
            Via::Rpc => Self::rpc(operation.name, owner),
            Via::Message { topic, group } => {
                let mut recipe = Self::message(topic, ["process", "process"], &format!("{owner}-consumer-1"));
                recipe.constant.extend(text("messaging.consumer.group.name", group));
                recipe
            }
            Via::Statement { system, text } => Self::statement(operation.name, system, text),
            Via::Cache { key } => Self::cache(operation.name, key, owner),
            Via::Outside { host, path } => Self::outside(operation.name, host, path),
            Via::Step { file } => Self::step(operation.name, file),
        }
    }

    /// For the side that calls the operation.
    pub(super) fn of_call(caller: Service, target: &Operation) -> Self {
        let owner = target.service.facts().name;
        match target.via {
            Via::Rpc => Self::rpc(target.name, owner),
            Via::Message { topic, .. } => {
                Self::message(topic, ["send", "publish"], &format!("{}-producer-1", caller.facts().name))
            }
            Via::Http { path } => Self {
                constant: [
                    text("http.request.method", method(target.name)),
                    text("server.address", &inner_host(owner)),
                    int("server.port", 8080),
                    text("network.protocol.version", "1.1"),
                ]
                .concat(),
                varying: Varying::InnerCall {
                    url: Text::parse(&format!("http://{}:8080{path}", inner_host(owner))),
                },
            },
            Via::Statement { .. } | Via::Cache { .. } | Via::Outside { .. } | Via::Step { .. } => {
                Self::of(target)
            }
        }
    }

    /// For a request from outside at the edge.
    pub(super) fn of_ingress(target: &Operation) -> Self {
        let path = if let Via::Http { path } = target.via { path } else { "/" };
        Self::request(Service::Edge, &format!("{} /*", method(target.name)), path)
    }

    fn request(service: Service, name: &str, path: &str) -> Self {
        let route = name.split_once(' ').map_or("", |(_, route)| route);
        let is_edge = service == Service::Edge;
        let host = if is_edge { "shop.example.com".to_owned() } else { inner_host(service.facts().name) };
        Self {
            constant: [
                text("http.request.method", method(name)),
                text("http.route", route),
                text("url.scheme", if is_edge { "https" } else { "http" }),
                text("server.address", &host),
                int("server.port", 8080),
                text("network.protocol.version", "1.1"),
            ]
            .concat(),
            varying: Varying::Request { path: Text::parse(path), is_search: route.contains("search") },
        }
    }

    fn rpc(name: &str, owner: &str) -> Self {
        let (service, method) = name.split_once('/').unwrap_or_default();
        Self {
            constant: [
                text("rpc.system", "grpc"),
                text("rpc.service", service),
                text("rpc.method", method),
                text("server.address", &inner_host(owner)),
                int("server.port", 9090),
                text("network.transport", "tcp"),
            ]
            .concat(),
            varying: Varying::Rpc,
        }
    }

    fn message(topic: &str, [kind, name]: [&str; 2], client: &str) -> Self {
        Self {
            constant: [
                text("messaging.system", "kafka"),
                text("messaging.destination.name", topic),
                text("messaging.operation.type", kind),
                text("messaging.operation.name", name),
                text("messaging.client.id", client),
            ]
            .concat(),
            varying: Varying::Message,
        }
    }

    fn statement(name: &str, system: &str, query: &str) -> Self {
        let (verb, target) = name.split_once(' ').unwrap_or_default();
        let (namespace, collection) = target.split_once('.').unwrap_or_default();
        let port = DATABASE_PORTS.iter().find(|(name, _)| *name == system).map_or(0, |(_, port)| *port);
        Self {
            constant: [
                text("db.system.name", system),
                text("db.namespace", namespace),
                text("db.operation.name", verb),
                text("db.collection.name", collection),
                text("db.query.text", query),
                text("server.address", &format!("{namespace}-{system}-primary.data.svc.cluster.local")),
                int("server.port", port),
            ]
            .concat(),
            varying: Varying::Statement,
        }
    }

    fn cache(verb: &str, key: &str, owner: &str) -> Self {
        Self {
            constant: [
                text("db.system.name", "redis"),
                text("db.operation.name", verb),
                text("db.namespace", "0"),
                text("server.address", &format!("{owner}-redis.data.svc.cluster.local")),
                int("server.port", 6379),
            ]
            .concat(),
            varying: Varying::Cache { text: Text::parse(&format!("{verb} {key}")) },
        }
    }

    fn outside(name: &str, host: &str, path: &str) -> Self {
        Self {
            constant: [
                text("http.request.method", name.rsplit(' ').next().unwrap_or(name)),
                text("server.address", host),
                int("server.port", 443),
                text("network.protocol.version", "1.1"),
                text("url.scheme", "https"),
            ]
            .concat(),
            varying: Varying::OutsideCall { url: Text::parse(&format!("https://{host}{path}")) },
        }
    }

    fn step(name: &str, file: &str) -> Self {
        Self {
            constant: [
                text("code.function.name", name),
                text("code.file.path", &format!("/app/{file}")),
                int("code.line.number", 20 + name.len() as i64 * 7),
            ]
            .concat(),
            varying: Varying::Step,
        }
    }

    /// Appends the attributes of one span.
    pub(super) fn write(
        &self,
        out: &mut Vec<u8>,
        shopper: &Shopper,
        pools: &Pools,
        failed: bool,
        rng: &mut Rng,
    ) {
        out.extend_from_slice(&self.constant);
        match &self.varying {
            Varying::Request { path, is_search } => {
                put_text(out, "url.path", &path.fill(shopper, rng));
                let status = if failed { [500, 500, 502, 503, 504][rng.usize(0..5)] } else { success(rng) };
                put_int(out, "http.response.status_code", status);
                for shared in [&shopper.agent, &shopper.address, &shopper.user, &shopper.session] {
                    out.extend_from_slice(shared);
                }
                if *is_search {
                    let (page, id) = (rng.u8(0..9), rng.u32(..));
                    put_text(out, "url.query", &format!("q={}&page={page}&sid={id:08x}", shopper.category));
                }
            }
            Varying::InnerCall { url } => {
                let url = format!("{}?rid={:012x}", url.fill(shopper, rng), rng.u64(..) >> 16);
                put_text(out, "url.full", &url);
                let status = if failed { [500, 502, 503][rng.usize(0..3)] } else { 200 };
                put_int(out, "http.response.status_code", status);
                put_peer(out, pools, rng);
                out.extend_from_slice(&shopper.user);
                out.extend_from_slice(&shopper.session);
            }
            Varying::OutsideCall { url } => {
                put_text(out, "url.full", &url.fill(shopper, rng));
                let status = if failed { [502, 503, 504, 429][rng.usize(0..4)] } else { 200 };
                put_int(out, "http.response.status_code", status);
                put_peer(out, pools, rng);
                out.extend_from_slice(&shopper.user);
                out.extend_from_slice(&shopper.order);
            }
            Varying::Rpc => {
                let status = if failed { [4, 13, 14, 9][rng.usize(0..4)] } else { 0 };
                put_int(out, "rpc.grpc.status_code", status);
                put_peer(out, pools, rng);
                for shared in [&shopper.user, &shopper.order, &shopper.region] {
                    out.extend_from_slice(shared);
                }
                if rng.f64() < 0.4 {
                    put_text(out, "app.product.id", &shopper.product);
                }
            }
            Varying::Statement => {
                out.extend_from_slice(pools.peers.draw(rng));
                out.extend_from_slice(pools.threads.draw(rng));
                let rows = if failed { 0.0 } else { rng.f64() * rng.f64() * 200.0 };
                out.extend_from_slice(pools.rows.at(rows as usize));
                if rng.bool() {
                    put_text(out, "db.query.parameter.0", shopper.order_or_user());
                }
            }
            Varying::Cache { text } => {
                put_text(out, "db.query.text", &text.fill(shopper, rng));
                put_peer(out, pools, rng);
                attribute(out, SPAN_ATTRIBUTE, "cache.hit", Value::Bool(rng.u8(0..4) > 0));
            }
            Varying::Message => {
                out.extend_from_slice(pools.partitions.draw(rng));
                put_int(out, "messaging.kafka.offset", rng.i64(10_000_000..100_000_000));
                put_text(out, "messaging.message.id", &format!("{:032x}", rng.u128(..)));
                out.extend_from_slice(pools.body_sizes.draw(rng));
                out.extend_from_slice(&shopper.order);
            }
            Varying::Step => {
                out.extend_from_slice(pools.threads.draw(rng));
                out.extend_from_slice(&shopper.user);
                for pool in [&pools.items, &pools.flags, &pools.totals] {
                    out.extend_from_slice(pool.draw(rng));
                }
                out.extend_from_slice(&shopper.region);
            }
        }
    }
}

/// The method in the name of a request.
pub(super) fn method(name: &str) -> &str {
    name.split(' ').next().unwrap_or_default()
}

fn inner_host(service: &str) -> String {
    format!("{service}.svc.cluster.local")
}

fn success(rng: &mut Rng) -> i64 {
    match rng.u8(0..20) {
        0 => 201,
        1 => 304,
        2 => 404,
        _ => 200,
    }
}

fn text(key: &str, value: &str) -> Vec<u8> {
    span_attribute(key, Value::Text(value))
}

fn int(key: &str, value: i64) -> Vec<u8> {
    span_attribute(key, Value::Int(value))
}

fn put_text(out: &mut Vec<u8>, key: &str, value: &str) {
    attribute(out, SPAN_ATTRIBUTE, key, Value::Text(value));
}

fn put_int(out: &mut Vec<u8>, key: &str, value: i64) {
    attribute(out, SPAN_ATTRIBUTE, key, Value::Int(value));
}

fn put_peer(out: &mut Vec<u8>, pools: &Pools, rng: &mut Rng) {
    out.extend_from_slice(pools.peers.draw(rng));
    out.extend_from_slice(pools.ports.draw(rng));
}

// === impl Text ===

impl Text {
    fn parse(template: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some((before, behind)) = rest.split_once('{') {
            let (place, after) = behind.split_once('}').unwrap_or((behind, ""));
            pieces.push(Piece::Fixed(before.to_owned()));
            pieces.push(match place {
                "product" => Piece::Product,
                "category" => Piece::Category,
                "user" => Piece::User,
                "session" => Piece::Session,
                "order" => Piece::Order,
                _ => Piece::Random,
            });
            rest = after;
        }
        pieces.push(Piece::Fixed(rest.to_owned()));
        Self(pieces)
    }

    fn fill(&self, shopper: &Shopper, rng: &mut Rng) -> String {
        let mut out = String::with_capacity(64);
        for piece in &self.0 {
            match piece {
                Piece::Fixed(text) => out.push_str(text),
                Piece::Product => out.push_str(&shopper.product),
                Piece::Category => out.push_str(&shopper.category),
                Piece::User => out.push_str(&shopper.user_id),
                Piece::Session => out.push_str(&shopper.session_id),
                Piece::Order => out.push_str(shopper.order_or("none")),
                Piece::Random => {
                    let _ = write!(out, "{:032x}", rng.u128(..));
                }
            }
        }
        out
    }
}
