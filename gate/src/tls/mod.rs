//! Encryption on the wire: certificates, and handshakes of the connections that a listener accepts.
