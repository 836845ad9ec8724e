use super::*;

fn network(text: &str) -> IpNet {
    text.parse().unwrap()
}

#[test]
fn one_network_cannot_take_all_permits() {
    let limiter = NetworkConcurrency::new(3, 2);
    let (busy, other, third) =
        (network("192.0.2.0/24"), network("2001:db8::/64"), network("198.51.100.0/24"));
    let held = [limiter.try_acquire(busy).unwrap(), limiter.try_acquire(busy).unwrap()];
    assert!(limiter.try_acquire(busy).is_none());
    let last = limiter.try_acquire(other).unwrap();
    assert!(limiter.try_acquire(third).is_none(), "the total is reached");
    drop(last);
    assert!(limiter.try_acquire(busy).is_none(), "a free permit does not lift the limit of the network");
    assert!(limiter.try_acquire(third).is_some());
    drop(held);
    assert!(limiter.try_acquire(busy).is_some());
}

#[test]
fn a_network_without_permits_is_forgotten() {
    let limiter = NetworkConcurrency::new(2, 1);
    for host in 0..100 {
        let permit = limiter.try_acquire(network(&format!("192.0.2.{host}/32")));
        assert!(permit.is_some(), "{host}");
    }
    assert!(limiter.held_permits.lock().unwrap().is_empty());
}

#[test]
fn a_limit_of_none_admits_nobody() {
    for limiter in [NetworkConcurrency::new(0, 5), NetworkConcurrency::new(5, 0)] {
        assert!(limiter.try_acquire(network("192.0.2.0/24")).is_none());
    }
}
