//! The layer around the router of a port: it lets a request pass or refuses it. `identify` finds out who sent it, and
//! `recorded` writes down what came of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http;
use axum::http::header::{ACCEPT, EXPECT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Version};
use axum::middleware::{self, Next};
use axum::response::Response;
use http_body_util::BodyExt as _;
use spandrel_proto::Caller;

use crate::attempts::Attempts;
use crate::audit::{AuditLog, Event, FilesConfig};
use crate::certificates::{CertificateRules, CertificateSettings};
use crate::identify::{Identifier, Method, Ways};
use crate::identity::Identity;
use crate::idp::{IssuerSettings, Issuers, Oidc, OidcSettings, ProviderLimits, SettingsError};
use crate::keys::Keys;
use crate::login_page::{self, Offers};
use crate::proxy::TrustedProxies;
use crate::recorded::{self, Sender};
use crate::refusal::{self, Refusal, Shape};
use crate::roles::Roles;
use crate::routes::{Found, Needs, ROUTES, RouteTable, Rule};
use crate::secret::Secret;
use crate::tenants::{Reach, Tenancy, TenantGrant};
use crate::users::{SessionLimits, Users};

/// Whether a server asks its callers who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody may do everything. Keys cannot be changed over HTTP then.
    Anonymous,
    /// A credential is needed for all but health.
    Authenticated,
}

/// What the gate decides by.
#[derive(Debug, Clone)]
pub struct GateConfig {
    pub access: Access,
    pub tenancy: Tenancy,
    pub roles: Arc<Roles>,
    pub methods: Vec<Method>,
    pub sessions: SessionLimits,
    /// Issuers whose tokens are accepted.
    pub issuers: Vec<IssuerSettings>,
    pub providers: ProviderLimits,
    /// The provider at which people log in, and the secret of this client there.
    pub oidc: Option<(OidcSettings, Option<Secret>)>,
    /// What client certificates stand for.
    pub certificates: Vec<CertificateSettings>,
    /// Peers whose headers name the user; none unless listed.
    pub proxies: Option<TrustedProxies>,
    /// Failed attempts that an address may make at once (`maxFailedAttempts`).
    pub max_failed_attempts: u32,
    /// One more after each such time (`failedAttemptInterval`).
    pub failed_attempt_interval: Duration,
    /// Bytes from which on a new file of the audit log is begun (`maxAuditFileBytes`).
    pub max_audit_file_bytes: u64,
}

/// Why there is no gate.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// Two lines of the table of routes contradict each other.
    #[error("the table of routes: {0}")]
    Table(#[from] matchit::InsertError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// Decides about the requests of all ports.
pub struct Gate {
    pub(crate) config: GateConfig,
    keys: Arc<Keys>,
    pub(crate) users: Arc<Users>,
    pub(crate) identifier: Identifier,
    /// The provider at which browsers log in, where that is on.
    pub(crate) oidc: Option<Oidc>,
    /// Guesses at codes and tokens of such logins, by address.
    pub(crate) oidc_attempts: Attempts,
    pub(crate) audit: Option<Arc<AuditLog>>,
    table: RouteTable,
}

/// A request that passes.
struct Admitted {
    identity: Option<Arc<Identity>>,
    caller: Caller,
    /// The line of the table; `None` for a path that is in none, on a server that lets everybody in.
    rule: Option<Rule>,
}

/// A request that is refused, and its sender if that is known.
struct Refused {
    identity: Option<Arc<Identity>>,
    refusal: Refusal,
}

/// How much of the body of a refused request is read and thrown away, and for how long. Over HTTP/1 a sender that is
/// still writing takes an early answer for a broken connection.
const DISCARDED_BYTES: usize = 1 << 20;
const DISCARDING_TIME: Duration = Duration::from_secs(1);

/// Wraps the router of a port. Layers that are added to the result later see refused requests, too.
pub fn guard(router: Router, gate: Arc<Gate>) -> Router {
    router.layer(middleware::from_fn_with_state(gate, check))
}

async fn check(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let Admitted { identity, caller, rule } = match gate.admit(&parts).await {
        Ok(admitted) => admitted,
        Err(refused) => return gate.refuse(&parts, body, refused).await,
    };
    let tenants = (gate.config.tenancy == Tenancy::On).then(|| caller.tenants.clone());
    let sender = Sender { identity: identity.clone(), tenants, address: gate.identifier.client(&parts) };
    parts.extensions.insert(caller);
    if let Some(identity) = identity {
        parts.extensions.insert(identity);
    }
    let shape = Shape::of(parts.uri.path(), &parts.headers);
    let request = Request::from_parts(parts, body);
    match (&gate.audit, rule.and_then(|rule| Event::of(rule.audited))) {
        (Some(log), Some(event)) => {
            let answered = recorded::run(log, event, sender, request, next).await;
            answered.unwrap_or_else(|refusal| refusal.response(shape, &HeaderMap::new()))
        }
        _ => next.run(request).await,
    }
}

async fn discard(mut body: Body) {
    let reading = async {
        let mut left = DISCARDED_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, |data| data.len());
            left = match left.checked_sub(length) {
                Some(left) => left,
                None => return,
            };
        }
    };
    let _ = tokio::time::timeout(DISCARDING_TIME, reading).await;
}

// === impl GateConfig ===

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            access: Access::Authenticated,
            tenancy: Tenancy::Off,
            roles: Arc::default(),
            methods: vec![Method::Keys, Method::Users],
            sessions: SessionLimits::default(),
            issuers: Vec::new(),
            providers: ProviderLimits::default(),
            oidc: None,
            certificates: Vec::new(),
            proxies: None,
            max_failed_attempts: 20,
            failed_attempt_interval: Duration::from_secs(3),
            max_audit_file_bytes: FilesConfig::default().max_file_bytes,
        }
    }
}

impl GateConfig {
    /// The limits by their names.
    pub fn limits(&self) -> Vec<(&'static str, serde_json::Value)> {
        vec![
            ("maxFailedAttempts", self.max_failed_attempts.into()),
            ("failedAttemptInterval", format!("{:?}", self.failed_attempt_interval).into()),
            ("sessionIdle", format!("{:?}", self.sessions.idle).into()),
            ("sessionLifetime", format!("{:?}", self.sessions.lifetime).into()),
            ("maxSessions", self.sessions.max.into()),
            ("maxUsers", crate::users::MAX_USERS.into()),
            ("maxAuditFileBytes", self.max_audit_file_bytes.into()),
            ("maxKeys", crate::keys::MAX_KEYS.into()),
            ("jwksInterval", format!("{:?}", self.providers.interval).into()),
            ("jwksMaxAge", format!("{:?}", self.providers.max_age).into()),
            ("clockSkew", format!("{:?}", self.providers.skew).into()),
            ("idpTimeout", format!("{:?}", self.providers.timeout).into()),
            ("maxIdpBytes", self.providers.max_bytes.into()),
            ("idpLoginTime", format!("{:?}", self.providers.login).into()),
        ]
    }
}

// === impl Gate ===

impl Gate {
    pub fn new(
        config: GateConfig,
        keys: Arc<Keys>,
        users: Arc<Users>,
        audit: Option<Arc<AuditLog>>,
    ) -> Result<Self, GateError> {
        metrics::describe_counter!(
            "spandrel_gate_refused_total",
            "Requests that the gate refused, by reason"
        );
        if let Some(log) = audit.clone() {
            let of_users = log.clone();
            keys.on_foreign_change(move |change| log.note(recorded::foreign_change(change)));
            users.on_change(move |user, changed| of_users.note(recorded::user_change(user, changed)));
        }
        let ways = Ways {
            methods: config.methods.clone(),
            proxies: config.proxies.clone(),
            roles: config.roles.clone(),
            keys: keys.clone(),
            users: users.clone(),
            issuers: Issuers::new(&config.issuers, &config.roles, &config.providers)?,
            certificates: CertificateRules::new(&config.certificates, &config.roles)?,
        };
        let oidc = match config.oidc.clone().filter(|_| config.methods.contains(&Method::Oidc)) {
            Some((oidc, secret)) => Some(Oidc::new(oidc, secret, &config.roles, &config.providers)?),
            None => None,
        };
        let attempts = || Attempts::new(config.max_failed_attempts, config.failed_attempt_interval);
        let identifier = Identifier::new(ways, attempts());
        let oidc_attempts = attempts();
        Ok(Self {
            config,
            keys,
            users,
            identifier,
            oidc,
            oidc_attempts,
            audit,
            table: RouteTable::new(ROUTES)?,
        })
    }

    /// Writes down a refused request, and answers it.
    async fn refuse(&self, parts: &Parts, body: Body, refused: Refused) -> Response {
        let Refused { identity, refusal } = refused;
        metrics::counter!("spandrel_gate_refused_total", "reason" => refusal.mapping().reason).increment(1);
        let response = self.refused(parts, &refusal);
        if let Some(log) = &self.audit {
            let address = self.identifier.client(parts);
            let record = recorded::refusal(&Sender { identity, tenants: None, address }, parts, &refusal);
            // It is refused in any case: a line that cannot be written changes nothing for the client.
            let _ = log.refusal(address, record).await;
        }
        // A sender that expects a 100 has not begun to send, and would be told to.
        if parts.version <= Version::HTTP_11 && !parts.headers.contains_key(EXPECT) {
            discard(body).await;
        }
        response
    }

    /// The answer to a refused request: the login page for a person, what the sender understands for programs.
    fn refused(&self, parts: &Parts, refusal: &Refusal) -> Response {
        if !self.is_login_offered(parts, refusal) {
            return refusal.response(Shape::of(parts.uri.path(), &parts.headers), &parts.headers);
        }
        let next = recorded::target(parts);
        let mut page = login_page::page(refusal.mapping().http, None, &next, &parts.headers, self.offers());
        refusal::challenge(&parts.headers, page.headers_mut());
        page
    }

    /// Whether a person looks at a page of the UI who may log in.
    pub(crate) fn is_login_offered(&self, parts: &Parts, refusal: &Refusal) -> bool {
        let accept = parts.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        matches!(refusal, Refusal::NoCredential | Refusal::BadCredential(_))
            && (self.config.methods.contains(&Method::Users) || self.oidc.is_some())
            && parts.method == http::Method::GET
            && accept.contains("text/html")
    }

    /// The ways to log in that the login page shows.
    pub(crate) fn offers(&self) -> Offers<'_> {
        Offers {
            passwords: self.config.methods.contains(&Method::Users),
            provider: self.oidc.as_ref().map(Oidc::name),
        }
    }

    /// The refusal of a method that a path does not take.
    pub(crate) fn wrong_method(&self, method: &http::Method, path: &str) -> Refusal {
        match self.table.find(method, path) {
            Found::OtherMethods(rules) => other_methods(rules),
            Found::Rule(_) | Found::Nothing => Refusal::NotFound,
        }
    }

    pub(crate) fn audit_folder(&self) -> Option<PathBuf> {
        self.audit.as_ref()?.folder().map(Path::to_owned)
    }

    pub fn access(&self) -> Access {
        self.config.access
    }

    /// The limits by their names.
    pub fn limits(&self) -> Vec<(&'static str, serde_json::Value)> {
        self.config.limits()
    }

    pub(crate) fn roles(&self) -> &Roles {
        &self.config.roles
    }

    pub fn tenancy(&self) -> Tenancy {
        self.config.tenancy
    }

    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    async fn admit(&self, parts: &Parts) -> Result<Admitted, Refused> {
        let found = self.table.find(&parts.method, parts.uri.path());
        let unknown = |refusal| Refused { identity: None, refusal };
        let rule = if let Found::Rule(rule) = found { Some(*rule) } else { None };
        if let Some(Rule { needs: Needs::Nothing, .. }) = rule {
            return Ok(Admitted { identity: None, caller: Caller::default(), rule });
        }
        if self.config.access == Access::Anonymous {
            let reach = rule.map_or(Reach::Several, reach);
            let tenants = TenantGrant::All.choose(self.config.tenancy, reach, &parts.headers);
            let tenants = tenants.map_err(|error| unknown(error.into()))?;
            return Ok(Admitted { identity: None, caller: Caller { tenants, ..Caller::default() }, rule });
        }
        // An unknown caller learns nothing about which addresses there are.
        let identity = self.identifier.identify(parts).await.map_err(unknown)?;
        match self.permitted(&identity, found, &parts.headers) {
            Ok((rule, caller)) => Ok(Admitted { identity: Some(identity), caller, rule: Some(rule) }),
            Err(refusal) => Err(Refused { identity: Some(identity), refusal }),
        }
    }

    /// The rule of the route, if the identity may use it, and what the handler has to know of the caller.
    fn permitted(
        &self,
        identity: &Identity,
        found: Found<'_>,
        headers: &HeaderMap,
    ) -> Result<(Rule, Caller), Refusal> {
        let rule = match found {
            Found::Rule(rule) => *rule,
            Found::OtherMethods(rules) => return Err(other_methods(rules)),
            Found::Nothing => return Err(Refusal::NotFound),
        };
        match rule.needs {
            Needs::Permission(lacks) if !identity.role.may(lacks) => {
                return Err(Refusal::Lacks { role: identity.role.name.clone(), lacks });
            }
            _ => {}
        }
        let caller = Caller {
            tenants: identity.tenants.choose(self.config.tenancy, reach(rule), headers)?,
            sees_server: self.config.tenancy == Tenancy::Off || identity.tenants == TenantGrant::All,
            account: Some(identity.account()),
            restriction: identity.role.restriction.clone(),
        };
        Ok((rule, caller))
    }
}

fn other_methods(rules: &[Rule]) -> Refusal {
    let methods: Vec<&str> = rules.iter().map(|rule| rule.method).collect();
    Refusal::Method(methods.join(", "))
}

fn reach(rule: Rule) -> Reach {
    match rule.needs {
        Needs::Permission(permission) if permission.is_of_server() => Reach::Server,
        Needs::Permission(permission) if permission.is_of_one_tenant() => Reach::One,
        _ => Reach::Several,
    }
}
