//! Where the server listens for other protocols than its own API and OTLP: each receiver has an address, or is off.

use std::net::SocketAddr;

use clap::Args;

/// The addresses of receivers, as flags say them.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ReceiverFlags {
    /// Address of Zipkin (JSON, protobuf and thrift of versions 1 and 2, and gRPC), or off [default: 127.0.0.1:9411]
    #[arg(long, env = "SPANDREL_ZIPKIN_ADDR", value_name = "HOST:PORT", value_parser = switch)]
    zipkin_addr: Option<Switch>,
    /// Address of Jaeger's gRPC, usually at port 14250 [default: off]
    #[arg(long, env = "SPANDREL_JAEGER_GRPC_ADDR", value_name = "HOST:PORT", value_parser = switch)]
    jaeger_grpc_addr: Option<Switch>,
    /// Address of Jaeger's thrift over HTTP, usually at port 14268 [default: off]
    #[arg(long, env = "SPANDREL_JAEGER_HTTP_ADDR", value_name = "HOST:PORT", value_parser = switch)]
    jaeger_http_addr: Option<Switch>,
    /// Address of Jaeger's datagrams in thrift's compact protocol, usually at UDP port 6831 [default: off]
    #[arg(long, env = "SPANDREL_JAEGER_COMPACT_ADDR", value_name = "HOST:PORT", value_parser = switch)]
    jaeger_compact_addr: Option<Switch>,
    /// Address of Jaeger's datagrams in thrift's binary protocol, usually at UDP port 6832 [default: off]
    #[arg(long, env = "SPANDREL_JAEGER_BINARY_ADDR", value_name = "HOST:PORT", value_parser = switch)]
    jaeger_binary_addr: Option<Switch>,
    /// Address of Datadog's agent (traces of versions 0.3 to 0.5), usually at port 8126 [default: off]
    #[arg(long, env = "SPANDREL_DATADOG_ADDR", value_name = "HOST:PORT", value_parser = switch)]
    datadog_addr: Option<Switch>,
    /// Address of SkyWalking's gRPC (segments of version 3), usually at port 11800 [default: off]
    #[arg(long, env = "SPANDREL_SKYWALKING_ADDR", value_name = "HOST:PORT", value_parser = switch)]
    skywalking_addr: Option<Switch>,
}

/// The addresses of receivers that are on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReceiverSettings {
    addresses: Vec<(Receiver, Option<SocketAddr>)>,
}

/// What listens on a port of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receiver {
    Zipkin,
    JaegerGrpc,
    JaegerHttp,
    JaegerCompact,
    JaegerBinary,
    Datadog,
    SkyWalking,
}

/// What a port speaks below its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// An address, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Switch {
    Off,
    On(SocketAddr),
}

const ZIPKIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9411);

/// An address to listen on. Names are not resolved, except `localhost`, which is common.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    numeric.as_deref().unwrap_or(text).parse().map_err(|_| {
        "allowed is IP:PORT or localhost:PORT, like 127.0.0.1:4317, 0.0.0.0:4317 or [::1]:4317; port 0 takes any free one"
            .to_owned()
    })
}

/// An address, or `off`, which is a truth value for some readers of YAML.
fn switch(text: &str) -> Result<Switch, String> {
    match text {
        "off" | "false" => Ok(Switch::Off),
        other => address(other).map(Switch::On).map_err(|why| format!("{why}; off switches it off")),
    }
}

// === impl ReceiverFlags ===

impl ReceiverFlags {
    /// These flags, above those of the file, above the defaults.
    pub(crate) fn over(self, file: Self) -> ReceiverSettings {
        let decide =
            |flag: Option<Switch>, file: Option<Switch>, default: Option<SocketAddr>| match flag.or(file) {
                Some(Switch::On(address)) => Some(address),
                Some(Switch::Off) => None,
                None => default,
            };
        let addresses = vec![
            (Receiver::Zipkin, decide(self.zipkin_addr, file.zipkin_addr, Some(ZIPKIN))),
            (Receiver::JaegerGrpc, decide(self.jaeger_grpc_addr, file.jaeger_grpc_addr, None)),
            (Receiver::JaegerHttp, decide(self.jaeger_http_addr, file.jaeger_http_addr, None)),
            (Receiver::JaegerCompact, decide(self.jaeger_compact_addr, file.jaeger_compact_addr, None)),
            (Receiver::JaegerBinary, decide(self.jaeger_binary_addr, file.jaeger_binary_addr, None)),
            (Receiver::Datadog, decide(self.datadog_addr, file.datadog_addr, None)),
            (Receiver::SkyWalking, decide(self.skywalking_addr, file.skywalking_addr, None)),
        ];
        ReceiverSettings { addresses }
    }
}

// === impl ReceiverSettings ===

impl ReceiverSettings {
    /// Those that are on.
    pub(crate) fn on(&self) -> impl Iterator<Item = (Receiver, SocketAddr)> {
        self.addresses.iter().filter_map(|(receiver, address)| Some((*receiver, (*address)?)))
    }

    /// All of them as rows of a configuration file.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&'static str, String)> {
        let shown =
            |address: &Option<SocketAddr>| address.map_or("off".to_owned(), |address| address.to_string());
        self.addresses.iter().map(move |(receiver, address)| (receiver.flag(), shown(address)))
    }
}

// === impl Receiver ===

impl Receiver {
    /// Its flag without `--`, its name in `listening` lines and in the settings of TLS, and its name in the status.
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Zipkin => ("zipkin-addr", "zipkin", "zipkin"),
            Self::JaegerGrpc => ("jaeger-grpc-addr", "jaeger-grpc", "jaegerGrpc"),
            Self::JaegerHttp => ("jaeger-http-addr", "jaeger-http", "jaegerHttp"),
            Self::JaegerCompact => ("jaeger-compact-addr", "jaeger-compact", "jaegerCompact"),
            Self::JaegerBinary => ("jaeger-binary-addr", "jaeger-binary", "jaegerBinary"),
            Self::Datadog => ("datadog-addr", "datadog", "datadog"),
            Self::SkyWalking => ("skywalking-addr", "skywalking", "skywalking"),
        }
    }

    pub(crate) fn flag(self) -> &'static str {
        self.names().0
    }

    pub(crate) fn name(self) -> &'static str {
        self.names().1
    }

    pub(crate) fn status_name(self) -> &'static str {
        self.names().2
    }

    pub(crate) fn transport(self) -> Transport {
        match self {
            Self::Zipkin | Self::JaegerGrpc | Self::JaegerHttp | Self::Datadog | Self::SkyWalking => {
                Transport::Tcp
            }
            Self::JaegerCompact | Self::JaegerBinary => Transport::Udp,
        }
    }
}
