//! The settings of the gate: who is asked who they are, and whose word is taken for it.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderName;
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use serde_json::Value;
use spandrel_gate::audit::{AuditConfig, AuditFiles, AuditLog, FilesConfig};
use spandrel_gate::idp::{CALLBACK, IssuerSettings, OidcSettings};
use spandrel_gate::{
    Access, CertificateSettings, GateConfig, Method, ProxyHeaders, RoleSettings, Roles, Secret, Tenancy,
    TrustedProxies,
};

use crate::limits::{self, Setting};
use crate::units;

/// The part of the arguments of `spandrel serve` that is about access.
#[derive(Debug, Default, Args)]
pub(crate) struct GateFlags {
    /// Ask for an identity on every port, except for /healthz and /readyz [default: false]
    #[arg(long, env = "SPANDREL_REQUIRE_AUTH", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    require_auth: Option<bool>,
    /// Allow addresses beyond loopback without --require-auth: everybody who reaches a port can read, write and delete
    /// [default: false]
    #[arg(long, env = "SPANDREL_ALLOW_ANONYMOUS", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    allow_anonymous: Option<bool>,
    /// Ways to show who one is [default: keys and users, and each other one that is configured]
    #[arg(long, env = "SPANDREL_AUTH_METHODS", value_name = "METHOD", value_delimiter = ',', value_enum)]
    auth_methods: Vec<AuthMethod>,
    /// Issuers whose JWTs are accepted as bearer tokens: a list of mappings with `issuer`, `audience`, `jwks-url` or
    /// `jwks-file` (or neither, to discover it), `algorithms`, `ca` and `identity`, as in
    /// '[{"issuer": "https://id.example", "audience": "spandrel", "identity": {"roles": {"dev": "read"}}}]'
    /// [default: none]
    #[arg(long, env = "SPANDREL_JWT_ISSUERS", value_name = "JSON", value_parser = issuers)]
    jwt_issuers: Option<Issuers>,
    /// The identity provider at which people sign in (OpenID Connect): a mapping with `issuer`, `name`, `client-id`,
    /// `client-secret-file` (or the variable SPANDREL_OIDC_CLIENT_SECRET), `redirect-url`, `post-logout-url`, `scopes`,
    /// `algorithms`, `ca` and `identity` [default: none]
    #[arg(long, env = "SPANDREL_OIDC", value_name = "JSON", value_parser = oidc)]
    oidc: Option<OidcSettings>,
    /// What client certificates stand for: a list of mappings with `match` (spiffe://DOMAIN/PATH, dns:NAME or cn:NAME, *
    /// for one part), `role`, `tenant` and `name`, as in
    /// '[{"match": "spiffe://cluster.local/ns/*/sa/*", "role": "ingest", "tenant": "$1"}]' [default: none]
    #[arg(long, env = "SPANDREL_CLIENT_IDENTITIES", value_name = "JSON", value_parser = client_identities)]
    client_identities: Option<Certificates>,
    /// Networks of reverse proxies whose headers name the user, as in 10.0.0.0/8 [default: none]
    #[arg(long, env = "SPANDREL_TRUSTED_PROXIES", value_name = "CIDR", value_delimiter = ',', value_parser = network)]
    trusted_proxies: Vec<IpNet>,
    /// The header in which a trusted proxy names the user [default: x-forwarded-user]
    #[arg(long, env = "SPANDREL_PROXY_USER_HEADER", value_name = "NAME", value_parser = header)]
    proxy_user_header: Option<HeaderName>,
    /// The header in which a trusted proxy names the role of the user [default: x-forwarded-role]
    #[arg(long, env = "SPANDREL_PROXY_ROLE_HEADER", value_name = "NAME", value_parser = header)]
    proxy_role_header: Option<HeaderName>,
    /// The header in which a trusted proxy names the tenants of the user [default: x-forwarded-tenant]
    #[arg(long, env = "SPANDREL_PROXY_TENANT_HEADER", value_name = "NAME", value_parser = header)]
    proxy_tenant_header: Option<HeaderName>,
    /// Keep the data of tenants apart; the tenant comes from the credential, or from X-Scope-OrgID where the credential
    /// may choose [default: false]
    #[arg(long, env = "SPANDREL_MULTITENANCY", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    multitenancy: Option<bool>,
    /// Roles that see a part: a mapping of names to `role`, `services`, `condition` (TraceQL), `mask` (keys) and
    /// `mask-detected` (card, mail, token, phone, address, key), as in
    /// '{"support": {"role": "read", "services": ["cart"], "mask-detected": ["mail"]}}' [default: none]
    #[arg(long, env = "SPANDREL_ROLES", value_name = "JSON", value_parser = roles)]
    roles: Option<RoleMap>,
    /// Where the audit log goes: nowhere, to files in the data directory, or to standard output [default: file with
    /// --require-auth, off without]
    #[arg(long, env = "SPANDREL_AUDIT", value_enum)]
    audit: Option<Audit>,
    /// Age at which files of the audit log are removed [default: 90d]
    #[arg(long, env = "SPANDREL_AUDIT_RETENTION", value_name = "DURATION", value_parser = units::parse_retention)]
    audit_retention: Option<Duration>,
    /// Refuse questions and changes that cannot be written to the audit log [default: false]
    #[arg(long, env = "SPANDREL_AUDIT_REQUIRED", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    audit_required: Option<bool>,
}

/// A way to show who one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuthMethod {
    /// API keys, as Bearer, as password of Basic, or as X-API-Key
    Keys,
    /// Names and passwords of users, for the web UI
    Users,
    /// Bearer tokens of --jwt-issuers
    Jwt,
    /// Logins at the provider of --oidc, for the web UI
    Oidc,
    /// Client certificates by --client-identities
    Certificates,
}

/// Where the audit log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Audit {
    /// Nothing is written
    // What a plain `off` of a YAML file is read as.
    #[value(alias = "false")]
    Off,
    /// Into the data directory
    File,
    /// To standard output
    Stdout,
}

/// The variable with the secret of this server at the identity provider.
const CLIENT_SECRET: &str = "SPANDREL_OIDC_CLIENT_SECRET";

/// Roles by their names.
type RoleMap = BTreeMap<String, RoleSettings>;

/// Clap takes a plain vector for a flag that may be repeated.
type Issuers = Arc<[IssuerSettings]>;
type Certificates = Arc<[CertificateSettings]>;

/// The flags, with the defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GateSettings {
    require_auth: bool,
    allow_anonymous: bool,
    auth_methods: Vec<AuthMethod>,
    jwt_issuers: Vec<IssuerSettings>,
    oidc: Option<OidcSettings>,
    client_identities: Vec<CertificateSettings>,
    trusted_proxies: Vec<IpNet>,
    proxy_headers: ProxyHeaders,
    multitenancy: bool,
    roles: RoleMap,
    audit: Audit,
    audit_retention: Duration,
    audit_required: bool,
}

/// A network, or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or(address)
        .map_err(|_| "allowed is a network or an address, like 10.0.0.0/8 or ::1".to_owned())
}

/// Reads roles, and checks all that can be checked without a server.
fn roles(text: &str) -> Result<RoleMap, String> {
    let roles: RoleMap = serde_json::from_str(text).map_err(|error| {
        format!("allowed is a mapping like {{\"support\": {{\"role\": \"read\", \"services\": [\"cart\"]}}}}: {error}")
    })?;
    let known = Roles::new(&roles).map_err(|error| error.to_string())?;
    for role in known.iter() {
        if let Some(restriction) = &role.restriction {
            spandrel_query::check_restriction(restriction)
                .map_err(|error| format!("the role {}: {error}", role.name))?;
        }
    }
    Ok(roles)
}

fn issuers(text: &str) -> Result<Issuers, String> {
    serde_json::from_str::<Vec<IssuerSettings>>(text).map(Into::into).map_err(|error| {
        format!(
            "allowed is a list like [{{\"issuer\": \"https://id.example\", \"audience\": \"spandrel\", \
             \"identity\": {{\"roles\": {{\"dev\": \"read\"}}}}}}]: {error}"
        )
    })
}

fn oidc(text: &str) -> Result<OidcSettings, String> {
    serde_json::from_str(text).map_err(|error| {
        format!(
            "allowed is a mapping like {{\"issuer\": \"https://id.example\", \"client-id\": \"spandrel\", \
             \"redirect-url\": \"https://traces.example{CALLBACK}\", \"identity\": {{\"roles\": {{\"dev\": \"read\"}}}}}}: \
             {error}"
        )
    })
}

fn client_identities(text: &str) -> Result<Certificates, String> {
    serde_json::from_str::<Vec<CertificateSettings>>(text).map(Into::into).map_err(|error| {
        format!("allowed is a list like [{{\"match\": \"cn:collector\", \"role\": \"ingest\"}}]: {error}")
    })
}

fn header(text: &str) -> Result<HeaderName, String> {
    HeaderName::try_from(text)
        .map_err(|_| "allowed is the name of a header, like X-Forwarded-User".to_owned())
}

// === impl GateFlags ===

impl GateFlags {
    /// These flags, completed by those of the file.
    pub(crate) fn over(self, file: Self) -> GateSettings {
        let name = |flag: Option<HeaderName>, file: Option<HeaderName>, default| {
            flag.or(file).unwrap_or(HeaderName::from_static(default))
        };
        let require_auth = self.require_auth.or(file.require_auth).unwrap_or(false);
        let default_audit = if require_auth { Audit::File } else { Audit::Off };
        let default_retention = FilesConfig::default().retention;
        let jwt_issuers = self.jwt_issuers.or(file.jwt_issuers).unwrap_or_default().to_vec();
        let oidc = self.oidc.or(file.oidc);
        let client_identities =
            self.client_identities.or(file.client_identities).unwrap_or_default().to_vec();
        let configured = [
            (AuthMethod::Jwt, !jwt_issuers.is_empty()),
            (AuthMethod::Oidc, oidc.is_some()),
            (AuthMethod::Certificates, !client_identities.is_empty()),
        ];
        let configured = configured.into_iter().filter(|(_, is_there)| *is_there).map(|(method, _)| method);
        GateSettings {
            require_auth,
            allow_anonymous: self.allow_anonymous.or(file.allow_anonymous).unwrap_or(false),
            auth_methods: match (self.auth_methods.is_empty(), file.auth_methods.is_empty()) {
                (false, _) => self.auth_methods,
                (true, false) => file.auth_methods,
                (true, true) => [AuthMethod::Keys, AuthMethod::Users].into_iter().chain(configured).collect(),
            },
            jwt_issuers,
            oidc,
            client_identities,
            trusted_proxies: match self.trusted_proxies.is_empty() {
                true => file.trusted_proxies,
                false => self.trusted_proxies,
            },
            proxy_headers: ProxyHeaders {
                user: name(self.proxy_user_header, file.proxy_user_header, "x-forwarded-user"),
                role: name(self.proxy_role_header, file.proxy_role_header, "x-forwarded-role"),
                tenant: name(self.proxy_tenant_header, file.proxy_tenant_header, "x-forwarded-tenant"),
            },
            multitenancy: self.multitenancy.or(file.multitenancy).unwrap_or(false),
            roles: self.roles.or(file.roles).unwrap_or_default(),
            audit: self.audit.or(file.audit).unwrap_or(default_audit),
            audit_retention: self.audit_retention.or(file.audit_retention).unwrap_or(default_retention),
            audit_required: self.audit_required.or(file.audit_required).unwrap_or(false),
        }
    }
}

// === impl GateSettings ===

impl GateSettings {
    /// Refuses an address beyond loopback that would let everybody in.
    pub(crate) fn check(&self, addresses: &[(&'static str, SocketAddr)]) -> Result<(), String> {
        if self.audit_required && self.audit == Audit::Off {
            return Err(
                "--audit-required and --audit off contradict each other; allowed is --audit file or stdout"
                    .to_owned(),
            );
        }
        for (method, is_there, flag) in [
            (AuthMethod::Jwt, !self.jwt_issuers.is_empty(), "--jwt-issuers"),
            (AuthMethod::Oidc, self.oidc.is_some(), "--oidc"),
            (AuthMethod::Certificates, !self.client_identities.is_empty(), "--client-identities"),
        ] {
            if self.auth_methods.contains(&method) && !is_there {
                return Err(format!("--auth-methods has {}, which needs {flag}", word(&method)));
            }
        }
        if self.require_auth || self.allow_anonymous {
            return Ok(());
        }
        match addresses.iter().find(|(_, address)| !address.ip().to_canonical().is_loopback()) {
            Some((name, address)) => Err(format!(
                "--{name} {address} is beyond loopback, and everybody who reaches it could read, write and delete; \
                 allowed is a loopback address, like 127.0.0.1:{}, any address with --require-auth, which asks for \
                 a key (`spandrel keys create` makes one), or any with --allow-anonymous, which lets everybody in",
                address.port()
            )),
            None => Ok(()),
        }
    }

    pub(crate) fn multitenancy(&self) -> bool {
        self.multitenancy
    }

    pub(crate) fn access(&self) -> Access {
        if self.require_auth { Access::Authenticated } else { Access::Anonymous }
    }

    /// Whether there are rules for client certificates.
    pub(crate) fn knows_certificates(&self) -> bool {
        !self.client_identities.is_empty()
    }

    /// Whether somebody may pass who has neither a key nor a password.
    pub(crate) fn knows_others(&self) -> bool {
        let is_other = |method: &AuthMethod| !matches!(method, AuthMethod::Keys | AuthMethod::Users);
        self.auth_methods.iter().any(is_other) || !self.trusted_proxies.is_empty()
    }

    /// Opens the audit log, if there is to be one.
    pub(crate) fn open_audit(
        &self,
        data_dir: &Path,
        limits: &[Setting],
    ) -> std::io::Result<Option<Arc<AuditLog>>> {
        let config = self.config(limits).map_err(|error| std::io::Error::other(error.to_string()))?;
        let files =
            FilesConfig { max_file_bytes: config.max_audit_file_bytes, retention: self.audit_retention };
        let log = match self.audit {
            Audit::Off => return Ok(None),
            Audit::File => {
                let config = AuditConfig { files, required: self.audit_required };
                AuditLog::to_files(&AuditFiles::folder(data_dir), config)?
            }
            Audit::Stdout => AuditLog::to_stdout(self.audit_required)?,
        };
        Ok(Some(Arc::new(log)))
    }

    fn methods(&self) -> Vec<Method> {
        let method = |method: &AuthMethod| match method {
            AuthMethod::Keys => Method::Keys,
            AuthMethod::Users => Method::Users,
            AuthMethod::Jwt => Method::Jwt,
            AuthMethod::Oidc => Method::Oidc,
            AuthMethod::Certificates => Method::Certificates,
        };
        self.auth_methods.iter().map(method).collect()
    }

    pub(crate) fn config(&self, limits: &[Setting]) -> Result<GateConfig, Box<dyn Error>> {
        let proxies = (!self.trusted_proxies.is_empty())
            .then(|| TrustedProxies::new(self.trusted_proxies.clone(), self.proxy_headers.clone()));
        let mut config = GateConfig {
            access: self.access(),
            tenancy: if self.multitenancy { Tenancy::On } else { Tenancy::Off },
            roles: Arc::new(Roles::new(&self.roles)?),
            methods: self.methods(),
            issuers: self.jwt_issuers.clone(),
            oidc: self
                .oidc
                .clone()
                .map(|oidc| client_secret(&oidc).map(|secret| (oidc, secret)))
                .transpose()?,
            certificates: self.client_identities.clone(),
            proxies,
            ..GateConfig::default()
        };
        limits::apply_to_gate(limits, &mut config);
        Ok(config)
    }

    /// The settings in the notation of the file.
    pub(crate) fn rows(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("require-auth", self.require_auth.into()),
            ("allow-anonymous", self.allow_anonymous.into()),
            ("auth-methods", self.auth_methods.iter().map(word).collect()),
            ("jwt-issuers", serde_json::to_value(&self.jwt_issuers).unwrap_or_default()),
            ("oidc", serde_json::to_value(&self.oidc).unwrap_or_default()),
            ("client-identities", serde_json::to_value(&self.client_identities).unwrap_or_default()),
            ("trusted-proxies", self.trusted_proxies.iter().map(ToString::to_string).collect()),
            ("proxy-user-header", self.proxy_headers.user.as_str().into()),
            ("proxy-role-header", self.proxy_headers.role.as_str().into()),
            ("proxy-tenant-header", self.proxy_headers.tenant.as_str().into()),
            ("multitenancy", self.multitenancy.into()),
            ("roles", serde_json::to_value(&self.roles).unwrap_or_default()),
            ("audit", word(&self.audit).into()),
            ("audit-retention", units::duration_word(self.audit_retention).into()),
            ("audit-required", self.audit_required.into()),
        ]
    }
}

/// The secret of this server at the identity provider: of the file, or else of the variable. A public client has none.
fn client_secret(oidc: &OidcSettings) -> Result<Option<Secret>, String> {
    let text = match &oidc.client_secret_file {
        Some(path) => std::fs::read_to_string(path)
            .map(Some)
            .map_err(|error| format!("cannot read the client-secret-file {}: {error}", path.display()))?,
        None => std::env::var(CLIENT_SECRET).ok(),
    };
    Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).map(Secret::new))
}

/// The word of a flag's value.
fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flags: GateFlags, address: &str) -> Result<(), String> {
        flags.over(GateFlags::default()).check(&[("http-addr", address.parse().unwrap())])
    }

    #[test]
    fn an_address_beyond_loopback_needs_a_decision() {
        for beyond in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[::ffff:192.0.2.1]:1"] {
            let error = check(GateFlags::default(), beyond).unwrap_err();
            for word in ["--http-addr", beyond, "--require-auth", "--allow-anonymous", "127.0.0.1:1"] {
                assert!(error.contains(word), "{word} is missing: {error}");
            }
            let asked = GateFlags { require_auth: Some(true), ..GateFlags::default() };
            let open = GateFlags { allow_anonymous: Some(true), ..GateFlags::default() };
            assert_eq!((check(asked, beyond), check(open, beyond)), (Ok(()), Ok(())));
        }
        for loopback in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(check(GateFlags::default(), loopback), Ok(()));
        }
    }
}
