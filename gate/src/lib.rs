//! The gate: what stands between a port and the parts behind it.
//!
//! It knows connections, certificates and layers of HTTP and gRPC, and neither store nor collector nor query. The binary
//! opens the ports, and wraps the routers of the other crates with what is here.

pub mod tls;
