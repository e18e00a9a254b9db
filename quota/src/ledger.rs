//! Counts what tenants and credentials take, and refuses what is above their limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use spandrel_proto::{Caller, TenantId};

use crate::bucket::Bucket;
use crate::limits::{Limits, QuotaConfig};
use crate::usage::{ServiceUsage, Usage};

/// What every tenant and credential has taken. All ports share one.
pub struct Ledger {
    config: QuotaConfig,
    stored: StoredBytes,
    accounts: Mutex<Accounts>,
    begun: std::time::SystemTime,
}

/// The bytes that a tenant's blocks take on disk, from the store.
pub type StoredBytes = Arc<dyn Fn(&TenantId) -> u64 + Send + Sync>;

/// Something is above a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{whose} has reached {limit} = {max}; try again in {} s", .retry_after.as_secs().max(1))]
pub struct Exceeded {
    /// Its name in the configuration.
    pub limit: &'static str,
    pub max: u64,
    /// `tenant NAME`, or the credential.
    pub whose: String,
    /// When it may pass.
    pub retry_after: Duration,
}

/// A question that is being answered; it ends when it is dropped.
pub struct QuestionGuard {
    ledger: Arc<Ledger>,
    /// Where it is counted.
    counted: Vec<Counted>,
}

/// An account that counts a running question.
enum Counted {
    Tenant(TenantId),
    Key(TenantId, Arc<str>),
}

#[derive(Default)]
struct Accounts {
    tenants: FxHashMap<TenantId, Tenant>,
    /// By tenant, too: a credential for several has a share of each.
    keys: FxHashMap<(TenantId, Arc<str>), Account>,
}

struct Tenant {
    account: Account,
    usage: Usage,
    /// A tenant that was only asked about gives its place to one that sends.
    has_sent: bool,
    /// `None` until the store has told it.
    stored_bytes: Option<u64>,
    /// When the store was asked for it.
    stored_at: Option<Instant>,
}

/// What is counted against limits.
struct Account {
    spans: Option<Bucket>,
    bytes: Option<Bucket>,
    scanned: Option<Bucket>,
    max_questions: Option<u64>,
    questions: u64,
    /// The last time that it was counted.
    used: Instant,
}

/// The label of tenants in metrics that have sent nothing.
const UNKNOWN: &str = "other";
/// How old the known number of stored bytes may be.
const STORED_AGE: Duration = Duration::from_secs(1);
/// A tenant that has too much stored has to wait for retention or a deletion.
const STORED_WAIT: Duration = Duration::from_secs(60);
/// A running question ends in a moment.
const QUESTION_WAIT: Duration = Duration::from_secs(1);
/// An account that was not used for so long may be forgotten: its buckets are full.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

// === impl Ledger ===

impl Ledger {
    pub fn new(config: QuotaConfig, stored: StoredBytes) -> Arc<Self> {
        metrics::describe_counter!("spandrel_tenant_received_spans_total", "Accepted spans, by tenant");
        metrics::describe_counter!(
            "spandrel_tenant_received_bytes_total",
            "Bytes of accepted requests, decompressed, by tenant"
        );
        metrics::describe_counter!(
            "spandrel_quota_refused_total",
            "Requests and questions above a quota, by tenant and limit"
        );
        Arc::new(Self { config, stored, accounts: Mutex::default(), begun: std::time::SystemTime::now() })
    }

    /// The limits of the server by name; those of tenants are in its configuration.
    pub fn limits(&self) -> [(&'static str, u64); 2] {
        let QuotaConfig { max_accounts, max_services, .. } = self.config;
        [("maxTenants", max_accounts as u64), ("maxCountedServices", max_services as u64)]
    }

    /// Since when it counts.
    pub fn begun(&self) -> std::time::SystemTime {
        self.begun
    }

    /// Refuses a request with spans, before its body is read, if its tenant or its credential has taken too much.
    pub fn check_ingest(&self, caller: &Caller) -> Result<(), Exceeded> {
        self.check_ingest_at(caller, Instant::now())
    }

    fn check_ingest_at(&self, caller: &Caller, now: Instant) -> Result<(), Exceeded> {
        let tenant = caller.tenants.first();
        let checked = self.ingest_of(tenant, caller.account.as_ref(), now);
        if let Err(exceeded) = &checked {
            let mut accounts = self.accounts.lock();
            refused(accounts.label(tenant), exceeded.limit);
            if let Some(tenant) = accounts.tenants.get_mut(tenant) {
                tenant.usage.refused_requests += 1;
            }
        }
        checked
    }

    fn ingest_of(&self, tenant: &TenantId, key: Option<&Arc<str>>, now: Instant) -> Result<(), Exceeded> {
        let limits = self.config.of(tenant);
        let whose = || format!("tenant {tenant}");
        let mut accounts = self.accounts.lock();
        let known = self.sender(&mut accounts, tenant, now)?;
        known.account.check_ingest(&limits.own, now).map_err(|over| over.of(whose()))?;
        if let (Some(limits), Some(key)) = (&limits.each_key, key) {
            let account = self.key(&mut accounts, tenant, key, limits, now)?;
            account.check_ingest(limits, now).map_err(|over| over.of(key.to_string()))?;
        }
        drop(accounts);
        let Some(max) = limits.max_stored_bytes else { return Ok(()) };
        if self.stored_bytes(tenant, now) < max {
            return Ok(());
        }
        Err(Exceeded { limit: "max-stored-bytes", max, whose: whose(), retry_after: STORED_WAIT })
    }

    /// What the store has of a tenant, at most [`STORED_AGE`] old. The store is asked outside of the lock, by one
    /// request at a time; the others take the number before, if there is one.
    fn stored_bytes(&self, tenant: &TenantId, now: Instant) -> u64 {
        {
            let mut accounts = self.accounts.lock();
            let Some(known) = accounts.tenants.get_mut(tenant) else { return 0 };
            let is_fresh =
                known.stored_at.is_some_and(|asked| now.saturating_duration_since(asked) < STORED_AGE);
            if let Some(bytes) = known.stored_bytes.filter(|_| is_fresh) {
                return bytes;
            }
            known.stored_at = Some(now);
        }
        let bytes = (self.stored)(tenant);
        if let Some(known) = self.accounts.lock().tenants.get_mut(tenant) {
            known.stored_bytes = Some(bytes);
        }
        bytes
    }

    /// Takes from the rates of a request's tenant and credential what it turned out to hold.
    pub fn charge_ingest(&self, caller: &Caller, spans: u64, bytes: u64) {
        let (tenant, now) = (caller.tenants.first(), Instant::now());
        let mut accounts = self.accounts.lock();
        if let Ok(known) = self.sender(&mut accounts, tenant, now) {
            known.account.take_ingest(spans, bytes, now);
        }
        if let (Some(limits), Some(key)) = (&self.config.of(tenant).each_key, &caller.account)
            && let Ok(account) = self.key(&mut accounts, tenant, key, limits, now)
        {
            account.take_ingest(spans, bytes, now);
        }
    }

    /// Counts an accepted request: its spans, its decompressed bytes, and what each service has of them.
    pub fn count_ingest<'s>(
        &self,
        caller: &Caller,
        spans: u64,
        bytes: u64,
        services: impl IntoIterator<Item = (&'s str, ServiceUsage)>,
    ) {
        let (tenant, now) = (caller.tenants.first(), Instant::now());
        let mut accounts = self.accounts.lock();
        let known = self.sender(&mut accounts, tenant, now);
        let label = if known.is_ok() { tenant.as_str() } else { UNKNOWN };
        metrics::counter!("spandrel_tenant_received_spans_total", "tenant" => label.to_owned())
            .increment(spans);
        metrics::counter!("spandrel_tenant_received_bytes_total", "tenant" => label.to_owned())
            .increment(bytes);
        if let Ok(known) = known {
            known.usage.received_spans += spans;
            known.usage.received_bytes += bytes;
            for (name, usage) in services {
                known.usage.add_service(name, usage, self.config.max_services);
            }
        }
    }

    /// Begins a question, unless one of its tenants or its credential asks too much.
    pub fn begin_question(self: &Arc<Self>, caller: &Caller) -> Result<QuestionGuard, Exceeded> {
        let now = Instant::now();
        let mut accounts = self.accounts.lock();
        for tenant in caller.tenants.iter() {
            let checked = self.question_of(&mut accounts, tenant, caller.account.as_ref(), now);
            if let Err(exceeded) = checked {
                refused(accounts.label(tenant), exceeded.limit);
                if let Some(known) = accounts.tenants.get_mut(tenant) {
                    known.usage.refused_questions += 1;
                }
                return Err(exceeded);
            }
        }
        let mut counted = Vec::with_capacity(1);
        for tenant in caller.tenants.iter() {
            if let Some(known) = accounts.tenants.get_mut(tenant) {
                known.account.questions += 1;
                known.usage.questions += 1;
                counted.push(Counted::Tenant(tenant.clone()));
            }
            if let Some(key) = &caller.account
                && let Some(account) = accounts.keys.get_mut(&(tenant.clone(), key.clone()))
            {
                account.questions += 1;
                counted.push(Counted::Key(tenant.clone(), key.clone()));
            }
        }
        drop(accounts);
        Ok(QuestionGuard { ledger: self.clone(), counted })
    }

    fn question_of(
        &self,
        accounts: &mut Accounts,
        tenant: &TenantId,
        key: Option<&Arc<str>>,
        now: Instant,
    ) -> Result<(), Exceeded> {
        let limits = self.config.of(tenant);
        // Where there is no room for another account, a tenant that has not sent is asked about without being counted.
        if let Ok(known) = self.tenant(accounts, tenant, now) {
            let checked = known.account.check_question(&limits.own, now);
            checked.map_err(|over| over.of(format!("tenant {tenant}")))?;
        }
        match (&limits.each_key, key) {
            (Some(limits), Some(key)) => {
                let account = self.key(accounts, tenant, key, limits, now)?;
                account.check_question(limits, now).map_err(|over| over.of(key.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Counts spans of a tenant that a question has looked at, and their bytes.
    pub fn count_scanned(&self, tenant: &TenantId, key: Option<&Arc<str>>, spans: u64, bytes: u64) {
        let now = Instant::now();
        let mut accounts = self.accounts.lock();
        if let Some(known) = accounts.tenants.get_mut(tenant) {
            known.account.take_scanned(bytes, now);
            known.usage.scanned_spans += spans;
        }
        if let Some(key) = key
            && let Some(account) = accounts.keys.get_mut(&(tenant.clone(), key.clone()))
        {
            account.take_scanned(bytes, now);
        }
    }

    /// Every tenant that has sent or asked something, by name.
    pub fn usage(&self) -> Vec<Usage> {
        let mut all: Vec<Usage> =
            self.accounts.lock().tenants.values().map(|tenant| tenant.usage.clone()).collect();
        all.sort_by(|one, other| one.tenant.cmp(&other.tenant));
        all
    }

    /// The account of a tenant that sends.
    fn sender<'a>(
        &self,
        accounts: &'a mut Accounts,
        tenant: &TenantId,
        now: Instant,
    ) -> Result<&'a mut Tenant, Exceeded> {
        let known = self.tenant(accounts, tenant, now)?;
        known.has_sent = true;
        Ok(known)
    }

    fn tenant<'a>(
        &self,
        accounts: &'a mut Accounts,
        tenant: &TenantId,
        now: Instant,
    ) -> Result<&'a mut Tenant, Exceeded> {
        if accounts.tenants.len() >= self.config.max_accounts && !accounts.tenants.contains_key(tenant) {
            accounts.tenants.retain(|_, known| known.has_sent || known.account.questions > 0);
            self.check_room(accounts.tenants.len())?;
        }
        let new = || Tenant {
            account: Account::new(&self.config.of(tenant).own, now),
            usage: Usage::of(tenant.clone()),
            has_sent: false,
            stored_bytes: None,
            stored_at: None,
        };
        Ok(accounts.tenants.entry(tenant.clone()).or_insert_with(new))
    }

    fn key<'a>(
        &self,
        accounts: &'a mut Accounts,
        tenant: &TenantId,
        key: &Arc<str>,
        limits: &Limits,
        now: Instant,
    ) -> Result<&'a mut Account, Exceeded> {
        let whose = (tenant.clone(), key.clone());
        if accounts.keys.len() >= self.config.max_accounts && !accounts.keys.contains_key(&whose) {
            accounts.keys.retain(|_, account| account.is_in_use(now));
            self.check_room(accounts.keys.len())?;
        }
        let account = accounts.keys.entry(whose).or_insert_with(|| Account::new(limits, now));
        account.used = now;
        Ok(account)
    }

    fn check_room(&self, taken: usize) -> Result<(), Exceeded> {
        if taken < self.config.max_accounts {
            return Ok(());
        }
        let (limit, max) = ("maxTenants", self.config.max_accounts as u64);
        Err(Exceeded { limit, max, whose: "the server".to_owned(), retry_after: STORED_WAIT })
    }
}

// === impl Accounts ===

impl Accounts {
    /// The name of a tenant in metrics. Invented names are [`UNKNOWN`] together, so that they make no series.
    fn label<'t>(&self, tenant: &'t TenantId) -> &'t str {
        if self.tenants.get(tenant).is_some_and(|known| known.has_sent) { tenant.as_str() } else { UNKNOWN }
    }
}

fn refused(label: &str, limit: &'static str) {
    let labels = [("tenant", label.to_owned()), ("limit", limit.to_owned())];
    metrics::counter!("spandrel_quota_refused_total", &labels).increment(1);
}

// === impl QuestionGuard ===

impl Drop for QuestionGuard {
    fn drop(&mut self) {
        let mut accounts = self.ledger.accounts.lock();
        for counted in self.counted.drain(..) {
            let account = match counted {
                Counted::Tenant(tenant) => accounts.tenants.get_mut(&tenant).map(|known| &mut known.account),
                Counted::Key(tenant, key) => accounts.keys.get_mut(&(tenant, key)),
            };
            if let Some(account) = account {
                account.questions = account.questions.saturating_sub(1);
            }
        }
    }
}

/// A limit that an account has reached.
struct Over {
    limit: &'static str,
    max: u64,
    retry_after: Duration,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("config", &self.config).finish_non_exhaustive()
    }
}

// === impl Over ===

impl Over {
    fn of(self, whose: String) -> Exceeded {
        let Self { limit, max, retry_after } = self;
        Exceeded { limit, max, whose, retry_after }
    }
}

// === impl Account ===

impl Account {
    fn new(limits: &Limits, now: Instant) -> Self {
        let bucket = |rate: Option<u64>| rate.map(|rate| Bucket::new(rate, now));
        Self {
            spans: bucket(limits.max_spans_per_second),
            bytes: bucket(limits.max_bytes_per_second),
            scanned: bucket(limits.max_scanned_bytes_per_second),
            max_questions: limits.max_questions,
            questions: 0,
            used: now,
        }
    }

    /// An account without questions that was not used for [`FORGOTTEN_AFTER`] is like a new one.
    fn is_in_use(&self, now: Instant) -> bool {
        self.questions > 0 || now.saturating_duration_since(self.used) < FORGOTTEN_AFTER
    }

    fn check_ingest(&mut self, limits: &Limits, now: Instant) -> Result<(), Over> {
        check(&mut self.spans, "max-spans-per-second", limits.max_spans_per_second, now)?;
        check(&mut self.bytes, "max-bytes-per-second", limits.max_bytes_per_second, now)
    }

    fn take_ingest(&mut self, spans: u64, bytes: u64, now: Instant) {
        if let Some(bucket) = &mut self.spans {
            bucket.take(spans, now);
        }
        if let Some(bucket) = &mut self.bytes {
            bucket.take(bytes, now);
        }
    }

    fn take_scanned(&mut self, bytes: u64, now: Instant) {
        if let Some(bucket) = &mut self.scanned {
            bucket.take(bytes, now);
        }
    }

    fn check_question(&mut self, limits: &Limits, now: Instant) -> Result<(), Over> {
        if let Some(max) = self.max_questions.filter(|max| self.questions >= *max) {
            return Err(Over { limit: "max-questions", max, retry_after: QUESTION_WAIT });
        }
        let max = limits.max_scanned_bytes_per_second;
        check(&mut self.scanned, "max-scanned-bytes-per-second", max, now)
    }
}

fn check(
    bucket: &mut Option<Bucket>,
    limit: &'static str,
    max: Option<u64>,
    now: Instant,
) -> Result<(), Over> {
    let wait = bucket.as_mut().and_then(|bucket| bucket.wait(now));
    wait.map_or(Ok(()), |retry_after| Err(Over { limit, max: max.unwrap_or_default(), retry_after }))
}

#[cfg(test)]
mod tests {
    use spandrel_proto::Tenants;

    use super::*;
    use crate::limits::TenantLimits;

    fn caller(tenants: &str, key: &str) -> Caller {
        let tenants = Tenants::parse(tenants).unwrap();
        Caller { tenants, account: Some(key.into()), ..Caller::default() }
    }

    fn ledger(usual: TenantLimits) -> Arc<Ledger> {
        let stored: StoredBytes = Arc::new(|tenant| if tenant.as_str() == "full" { 100 } else { 0 });
        Ledger::new(QuotaConfig { usual, max_accounts: 3, max_services: 2, ..QuotaConfig::default() }, stored)
    }

    fn usage(ledger: &Ledger, tenant: &str) -> Usage {
        ledger.usage().into_iter().find(|usage| usage.tenant.as_str() == tenant).unwrap()
    }

    #[test]
    fn a_tenant_that_has_sent_too_much_is_refused_and_no_other() {
        let own = Limits { max_spans_per_second: Some(10), ..Limits::default() };
        let ledger = ledger(TenantLimits { own, ..TenantLimits::default() });
        let (loud, quiet) = (caller("loud", "a"), caller("quiet", "b"));
        assert_eq!(ledger.check_ingest(&loud), Ok(()));
        ledger.charge_ingest(&loud, 1_000, 5);
        ledger.count_ingest(&loud, 1_000, 5, []);
        let exceeded = ledger.check_ingest(&loud).unwrap_err();
        assert_eq!(
            (exceeded.limit, exceeded.max, exceeded.whose.as_str()),
            ("max-spans-per-second", 10, "tenant loud")
        );
        assert!(exceeded.retry_after > Duration::from_secs(50));
        assert_eq!(ledger.check_ingest(&quiet), Ok(()));
        assert_eq!(
            (usage(&ledger, "loud").received_spans, usage(&ledger, "loud").refused_requests),
            (1_000, 1)
        );
    }

    #[test]
    fn each_credential_has_a_share_of_its_own() {
        let each = Limits { max_bytes_per_second: Some(10), max_questions: Some(1), ..Limits::default() };
        let ledger = ledger(TenantLimits { each_key: Some(each), ..TenantLimits::default() });
        let (one, other) = (caller("shop", "key:one"), caller("shop", "key:other"));
        assert_eq!(ledger.check_ingest(&one), Ok(()));
        ledger.charge_ingest(&one, 1, 1_000);
        let exceeded = ledger.check_ingest(&one).unwrap_err();
        assert_eq!((exceeded.limit, exceeded.whose.as_str()), ("max-bytes-per-second", "key:one"));
        assert_eq!(ledger.check_ingest(&other), Ok(()));
        let running = ledger.begin_question(&one).unwrap();
        assert_eq!(ledger.begin_question(&one).err().map(|over| over.limit), Some("max-questions"));
        assert!(ledger.begin_question(&other).is_ok());
        drop(running);
        assert!(ledger.begin_question(&one).is_ok());
    }

    #[test]
    fn questions_and_what_they_read_are_bounded() {
        let own =
            Limits { max_questions: Some(2), max_scanned_bytes_per_second: Some(1_000), ..Limits::default() };
        let ledger = ledger(TenantLimits { own, ..TenantLimits::default() });
        let both = caller("a|b", "k");
        let first = ledger.begin_question(&both).unwrap();
        let second = ledger.begin_question(&caller("a", "k")).unwrap();
        assert_eq!(ledger.begin_question(&both).err().map(|over| over.whose), Some("tenant a".to_owned()));
        assert!(ledger.begin_question(&caller("b", "k")).is_ok());
        ledger.count_scanned(both.tenants.first(), None, 100, 50_000);
        drop((first, second));
        let limit = ledger.begin_question(&both).err().map(|over| over.limit);
        assert_eq!(limit, Some("max-scanned-bytes-per-second"));
        assert_eq!(usage(&ledger, "a").scanned_spans, 100);
        assert_eq!(usage(&ledger, "a").refused_questions, 2);
    }

    #[test]
    fn a_full_tenant_and_a_tenant_too_many_store_nothing_more() {
        let ledger = ledger(TenantLimits { max_stored_bytes: Some(100), ..TenantLimits::default() });
        assert_eq!(ledger.check_ingest(&caller("full", "k")).unwrap_err().limit, "max-stored-bytes");
        for name in ["one", "two"] {
            assert_eq!(ledger.check_ingest(&caller(name, "k")), Ok(()));
        }
        let exceeded = ledger.check_ingest(&caller("three", "k")).unwrap_err();
        assert_eq!((exceeded.limit, exceeded.max), ("maxTenants", 3));
    }

    #[test]
    fn questions_about_invented_tenants_take_no_place_of_real_ones() {
        let ledger = ledger(TenantLimits::default());
        let running = ledger.begin_question(&caller("invented-0", "k")).unwrap();
        for nth in 1..10 {
            assert!(ledger.begin_question(&caller(&format!("invented-{nth}"), "k")).is_ok());
        }
        assert_eq!(usage(&ledger, "invented-9").questions, 1);
        for name in ["one", "two"] {
            assert_eq!(ledger.check_ingest(&caller(name, "k")), Ok(()));
        }
        let limit = |name| ledger.check_ingest(&caller(name, "k")).err().map(|exceeded| exceeded.limit);
        assert_eq!(limit("three"), Some("maxTenants"), "the running question keeps its account");
        drop(running);
        assert_eq!(limit("three"), None);
        assert!(ledger.begin_question(&caller("four", "k")).is_ok(), "it may have data");
        assert_eq!(ledger.accounts.lock().label(caller("three", "k").tenants.first()), "three");
        assert_eq!(ledger.accounts.lock().label(caller("invented-9", "k").tenants.first()), UNKNOWN);
    }

    #[test]
    fn counted_credentials_are_bounded_and_known_ones_go_on() {
        let each = Limits { max_questions: Some(1), ..Limits::default() };
        let ledger = ledger(TenantLimits { each_key: Some(each), ..TenantLimits::default() });
        for key in ["one", "two", "three"] {
            assert!(ledger.begin_question(&caller("shop", key)).is_ok());
        }
        let limit = |key| ledger.begin_question(&caller("shop", key)).err().map(|exceeded| exceeded.limit);
        assert_eq!((limit("four"), limit("one")), (Some("maxTenants"), None));
        let later = Instant::now() + FORGOTTEN_AFTER;
        let four = caller("shop", "four");
        assert_eq!(ledger.check_ingest_at(&four, later), Ok(()));
    }

    #[test]
    fn a_question_ends_where_it_was_counted() {
        let own = Limits { max_questions: Some(1), ..Limits::default() };
        let each = Limits { max_questions: Some(1), ..Limits::default() };
        let ledger = ledger(TenantLimits { own, each_key: Some(each), ..TenantLimits::default() });
        let running = ledger.begin_question(&caller("shop", "one")).unwrap();
        let refused = ledger.begin_question(&caller("a|shop", "two"));
        assert_eq!(refused.err().map(|exceeded| exceeded.whose), Some("tenant shop".to_owned()));
        drop(running);
        assert!(ledger.begin_question(&caller("a|shop", "two")).is_ok());
    }

    #[test]
    fn services_are_counted_by_name_up_to_a_bound() {
        let ledger = ledger(TenantLimits::default());
        let sent = ServiceUsage { received_spans: 1, received_bytes: 10 };
        let shop = caller("shop", "k");
        ledger.count_ingest(&shop, 4, 50, [("a", sent), ("b", sent), ("c", sent), ("a", sent)]);
        let usage = usage(&ledger, "shop");
        let spans: Vec<(&str, u64)> =
            usage.services.iter().map(|(name, usage)| (name.as_str(), usage.received_spans)).collect();
        assert_eq!(spans, [("", 1), ("a", 2), ("b", 1)]);
    }
}
