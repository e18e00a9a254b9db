//! Changes of the entries of a keyring: what rotates keys, and what ends those of a tenant. They are made durable by the
//! file of the keyring.

use spandrel_proto::TenantId;

use super::cipher::CipherError;
use super::error::KeyError;
use super::keys::{DataKey, KeyEntry, MasterKey};

/// The change of the entries that begins a new data key for the store's records and for each tenant that has one. Fails
/// if the master key is not that of all entries: they would need two of them then. Returns how many were made.
pub fn begin_data_keys(entries: &mut Vec<KeyEntry>, master: &MasterKey, now: u64) -> Result<usize, KeyError> {
    let mut tenants: Vec<Option<TenantId>> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.ended.is_none()) {
        let tenant = unwrapped(entry, master)?.tenant().cloned();
        if !tenants.contains(&tenant) {
            tenants.push(tenant);
        }
    }
    for tenant in &tenants {
        entries.push(DataKey::random(tenant.clone())?.wrapped(master, now)?);
    }
    Ok(tenants.len())
}

/// The change of the entries that encrypts all data keys under another master key. Returns how many there are.
pub fn rewrap(entries: &mut [KeyEntry], old: &MasterKey, new: &MasterKey) -> Result<usize, KeyError> {
    let mut count = 0;
    for entry in entries.iter_mut() {
        if entry.ended.is_some() {
            entry.master = new.fingerprint().to_owned();
            continue;
        }
        *entry = unwrapped(entry, old)?.wrapped(new, entry.created)?;
        count += 1;
    }
    Ok(count)
}

/// Decrypts the key of an entry, and says which master key it needs if that fails.
fn unwrapped(entry: &KeyEntry, master: &MasterKey) -> Result<DataKey, KeyError> {
    let id = entry.read().ok_or(CipherError::NotAuthentic)?.id;
    if entry.master != master.fingerprint() {
        let (needed, given) = (entry.master.clone(), master.fingerprint().to_owned());
        return Err(KeyError::OtherMasterKey { id, needed, given });
    }
    Ok(entry.unwrap(master)?)
}

/// The change of the entries that deletes all data keys of a tenant. Returns how many there were.
pub fn end_data_keys(entries: &mut [KeyEntry], tenant: &TenantId, now: u64) -> usize {
    let of_tenant = |entry: &&mut KeyEntry| entry.tenant.as_deref() == Some(tenant.as_str());
    let live = entries.iter_mut().filter(of_tenant).filter(|entry| entry.ended.is_none());
    live.map(|entry| entry.end(now)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_data_keys_need_the_master_key_of_the_old_ones() {
        let [needed, other] = [(); 2].map(|()| MasterKey::random().unwrap());
        let tenant = TenantId::new("a").unwrap();
        let before = [None, Some(tenant)].map(|of| DataKey::random(of).unwrap().wrapped(&needed, 0).unwrap());
        let mut entries = before.to_vec();
        let said = begin_data_keys(&mut entries, &other, 1).unwrap_err().to_string();
        assert!(said.contains(needed.fingerprint()) && said.contains(other.fingerprint()), "{said}");
        assert_eq!(entries, before, "nothing is changed");
        other.fingerprint().clone_into(&mut entries[0].master);
        assert!(begin_data_keys(&mut entries, &other, 1).is_err(), "the fingerprint alone is not believed");
        let mut entries = before.to_vec();
        assert_eq!(begin_data_keys(&mut entries, &needed, 1).unwrap(), 2);
        assert_eq!(entries.len(), 4);
    }
}
