use sessionwatch_store::StoreError;

use super::*;

fn lease_names() -> Vec<String> {
    vec![target_lease_name("shop"), DELIVERY_LEASE.to_owned()]
}

fn manager(holder: &str) -> LeaseManager {
    LeaseManager::new(true, holder.into())
}

#[tokio::test]
async fn the_only_daemon_of_a_store_leads_everything_at_once() {
    let (alone, store) = (LeaseManager::new(false, String::new()), Store::open_in_memory().unwrap());
    assert!(alone.is_leader_known());
    assert_eq!(alone.epoch("target/any"), Some(0));
    assert_eq!(alone.wait_for_lease("target/any").await, 0);
    alone.renew_leases(&store, &lease_names());
    alone.release_leases(&store);
    assert_eq!(alone.epoch("target/any"), Some(0), "there is no lease that could be lost");
    let fenced = alone.fenced_store(&store, DELIVERY_LEASE, 0);
    assert!(fenced.write(|_| Ok(())).is_ok());
}

#[test]
fn a_daemon_leads_nothing_before_its_first_renewal() {
    let (one, store) = (manager("one"), Store::open_in_memory().unwrap());
    assert!(!one.is_leader_known());
    assert_eq!(one.epoch(DELIVERY_LEASE), None);
    one.renew_leases(&store, &lease_names());
    assert!(one.is_leader_known());
    assert_eq!((one.epoch(DELIVERY_LEASE), one.epoch("target/shop")), (Some(1), Some(1)));
    assert_eq!(one.epoch("target/app"), None, "a lease that was not asked for");
}

#[test]
fn a_standby_is_healthy_without_leases_and_takes_over_after_a_release() {
    let (one, two, store) = (manager("one"), manager("two"), Store::open_in_memory().unwrap());
    one.renew_leases(&store, &lease_names());
    two.renew_leases(&store, &lease_names());
    assert!(two.is_leader_known());
    assert_eq!((one.epoch(DELIVERY_LEASE), two.epoch(DELIVERY_LEASE)), (Some(1), None));
    one.release_leases(&store);
    assert_eq!(one.epoch(DELIVERY_LEASE), None);
    two.renew_leases(&store, &lease_names());
    assert_eq!(two.epoch(DELIVERY_LEASE), Some(2), "a new holder has a new epoch");
}

#[test]
fn late_writes_of_the_old_leader_are_rejected() {
    let (one, two, store) = (manager("one"), manager("two"), Store::open_in_memory().unwrap());
    one.renew_leases(&store, &lease_names());
    let (delivery, target) =
        (one.fenced_store(&store, DELIVERY_LEASE, 1), one.fenced_store(&store, "target/shop", 1));
    assert!(delivery.write(|_| Ok(())).is_ok());
    one.release_leases(&store);
    two.renew_leases(&store, &[DELIVERY_LEASE.to_owned()]);
    assert!(matches!(delivery.write(|_| Ok(())), Err(StoreError::LeaseLost)));
    assert!(target.write(|_| Ok(())).is_ok(), "nobody has taken over that lease");
    assert!(store.write(|_| Ok(())).is_ok(), "the store without a fence is not affected");
    // The same holder in a later epoch is not the same leader.
    two.release_leases(&store);
    one.renew_leases(&store, &lease_names());
    assert!(matches!(delivery.write(|_| Ok(())), Err(StoreError::LeaseLost)));
    assert!(one.fenced_store(&store, DELIVERY_LEASE, 3).write(|_| Ok(())).is_ok());
}

#[tokio::test]
async fn a_waiting_daemon_is_woken_by_the_renewal_that_gets_its_lease() {
    let (one, store) = (manager("one"), Store::open_in_memory().unwrap());
    let mut waiting = Box::pin(one.wait_for_lease(DELIVERY_LEASE));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    one.renew_leases(&store, &[target_lease_name("shop")]);
    assert!(futures_util::poll!(&mut waiting).is_pending(), "another lease does not count");
    one.renew_leases(&store, &lease_names());
    assert_eq!(waiting.await, 1);
}

#[test]
fn a_target_cannot_take_the_name_of_the_delivery_lease() {
    assert_ne!(target_lease_name(DELIVERY_LEASE), DELIVERY_LEASE);
}
