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
    caller: Caller,
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
    stored_bytes: u64,
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
        let mut accounts = self.accounts.lock();
        let checked = self.ingest_of(&mut accounts, tenant, caller.account.as_ref(), now);
        if let Err(exceeded) = &checked {
            refused(tenant, exceeded.limit);
            if let Some(tenant) = accounts.tenants.get_mut(tenant) {
                tenant.usage.refused_requests += 1;
            }
        }
        checked
    }

    fn ingest_of(
        &self,
        accounts: &mut Accounts,
        tenant: &TenantId,
        key: Option<&Arc<str>>,
        now: Instant,
    ) -> Result<(), Exceeded> {
        let limits = self.config.of(tenant);
        let of_tenant = || format!("tenant {tenant}");
        let known = self.tenant(accounts, tenant, now)?;
        known.account.check_ingest(&limits.own, now).map_err(|over| over.of(of_tenant()))?;
        if let Some(max) = limits.max_stored_bytes {
            if known.stored_at.is_none_or(|asked| now.saturating_duration_since(asked) >= STORED_AGE) {
                known.stored_at = Some(now);
                known.stored_bytes = (self.stored)(tenant);
            }
            if known.stored_bytes >= max {
                let limit = "max-stored-bytes";
                return Err(Exceeded { limit, max, whose: of_tenant(), retry_after: STORED_WAIT });
            }
        }
        match (&limits.each_key, key) {
            (Some(limits), Some(key)) => {
                let account = self.key(accounts, tenant, key, limits, now);
                account.check_ingest(limits, now).map_err(|over| over.of(key.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Takes from the rates of a request's tenant and credential what it turned out to hold.
    pub fn charge_ingest(&self, caller: &Caller, spans: u64, bytes: u64) {
        let (tenant, now) = (caller.tenants.first(), Instant::now());
        let mut accounts = self.accounts.lock();
        if let Ok(known) = self.tenant(&mut accounts, tenant, now) {
            known.account.take_ingest(spans, bytes, now);
        }
        if let (Some(limits), Some(key)) = (&self.config.of(tenant).each_key, &caller.account) {
            self.key(&mut accounts, tenant, key, limits, now).take_ingest(spans, bytes, now);
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
        let label = tenant.to_string();
        metrics::counter!("spandrel_tenant_received_spans_total", "tenant" => label.clone()).increment(spans);
        metrics::counter!("spandrel_tenant_received_bytes_total", "tenant" => label).increment(bytes);
        let mut accounts = self.accounts.lock();
        if let Ok(known) = self.tenant(&mut accounts, tenant, now) {
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
                refused(tenant, exceeded.limit);
                if let Some(known) = accounts.tenants.get_mut(tenant) {
                    known.usage.refused_questions += 1;
                }
                return Err(exceeded);
            }
        }
        self.each_account(&mut accounts, caller, now, |account, usage| {
            account.questions += 1;
            if let Some(usage) = usage {
                usage.questions += 1;
            }
        });
        drop(accounts);
        Ok(QuestionGuard { ledger: self.clone(), caller: caller.clone() })
    }

    fn question_of(
        &self,
        accounts: &mut Accounts,
        tenant: &TenantId,
        key: Option<&Arc<str>>,
        now: Instant,
    ) -> Result<(), Exceeded> {
        let limits = self.config.of(tenant);
        // Who only asks about a tenant does not make it one.
        if let Some(known) = accounts.tenants.get_mut(tenant) {
            let over = known.account.check_question(&limits.own, now);
            over.map_err(|over| over.of(format!("tenant {tenant}")))?;
        }
        match (&limits.each_key, key) {
            (Some(limits), Some(key)) => {
                let account = self.key(accounts, tenant, key, limits, now);
                account.check_question(limits, now).map_err(|over| over.of(key.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Counts spans that a question has looked at, and their size by the mean of the tenant's spans.
    pub fn count_scanned(&self, caller: &Caller, spans: u64, mean_span_bytes: u64) {
        let now = Instant::now();
        self.each_account(&mut self.accounts.lock(), caller, now, |account, usage| {
            if let Some(bucket) = &mut account.scanned {
                bucket.take(spans.saturating_mul(mean_span_bytes), now);
            }
            if let Some(usage) = usage {
                usage.scanned_spans += spans;
            }
        });
    }

    /// Every tenant that has sent or asked something, by name.
    pub fn usage(&self) -> Vec<Usage> {
        let mut all: Vec<Usage> =
            self.accounts.lock().tenants.values().map(|tenant| tenant.usage.clone()).collect();
        all.sort_by(|one, other| one.tenant.cmp(&other.tenant));
        all
    }

    /// Does something for each account of a caller that exists; with the usage, where it is that of a tenant.
    fn each_account(
        &self,
        accounts: &mut Accounts,
        caller: &Caller,
        now: Instant,
        mut change: impl FnMut(&mut Account, Option<&mut Usage>),
    ) {
        for tenant in caller.tenants.iter() {
            if let Ok(known) = self.tenant(accounts, tenant, now) {
                change(&mut known.account, Some(&mut known.usage));
            }
            if let Some(key) = &caller.account
                && let Some(account) = accounts.keys.get_mut(&(tenant.clone(), key.clone()))
            {
                change(account, None);
            }
        }
    }

    fn tenant<'a>(
        &self,
        accounts: &'a mut Accounts,
        tenant: &TenantId,
        now: Instant,
    ) -> Result<&'a mut Tenant, Exceeded> {
        if !accounts.tenants.contains_key(tenant) {
            if accounts.tenants.len() >= self.config.max_accounts {
                let (limit, max) = ("maxTenants", self.config.max_accounts as u64);
                let whose = "the server".to_owned();
                return Err(Exceeded { limit, max, whose, retry_after: STORED_WAIT });
            }
            let account = Account::new(&self.config.of(tenant).own, now);
            let usage = Usage::of(tenant.clone());
            let new = Tenant { account, usage, stored_bytes: 0, stored_at: None };
            accounts.tenants.insert(tenant.clone(), new);
        }
        accounts.tenants.get_mut(tenant).ok_or_else(|| Exceeded {
            limit: "maxTenants",
            max: 0,
            whose: tenant.to_string(),
            retry_after: STORED_WAIT,
        })
    }

    fn key<'a>(
        &self,
        accounts: &'a mut Accounts,
        tenant: &TenantId,
        key: &Arc<str>,
        limits: &Limits,
        now: Instant,
    ) -> &'a mut Account {
        if accounts.keys.len() >= self.config.max_accounts {
            let is_used = |account: &Account| {
                account.questions > 0 || now.saturating_duration_since(account.used) < FORGOTTEN_AFTER
            };
            accounts.keys.retain(|_, account| is_used(account));
        }
        let account = accounts.keys.entry((tenant.clone(), key.clone()));
        let account = account.or_insert_with(|| Account::new(limits, now));
        account.used = now;
        account
    }
}

fn refused(tenant: &TenantId, limit: &'static str) {
    let labels = [("tenant", tenant.to_string()), ("limit", limit.to_owned())];
    metrics::counter!("spandrel_quota_refused_total", &labels).increment(1);
}

// === impl QuestionGuard ===

impl Drop for QuestionGuard {
    fn drop(&mut self) {
        let now = Instant::now();
        let end = |account: &mut Account, _: Option<&mut Usage>| {
            account.questions = account.questions.saturating_sub(1);
        };
        self.ledger.each_account(&mut self.ledger.accounts.lock(), &self.caller, now, end);
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
        ledger.count_scanned(&caller("a", "k"), 100, 500);
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
