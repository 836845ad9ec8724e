//! A database that answers without end is told so, and takes no memory.

use std::time::Duration;

use sessionwatch::target::{address::Address, error::TargetError, postgres::Limits, session::Session};

use crate::harness;

#[tokio::test]
async fn an_answer_that_is_larger_than_any_use_for_it_is_refused() {
    let database = harness::empty();
    let limits = Limits { timeout: Duration::from_secs(60), lock_timeout: Duration::from_secs(2) };
    for url in database.urls("postgres") {
        let address = Address::parse(&url).unwrap();
        let open = || Session::open(&address, limits, false, 1);
        // Many rows, and wide ones.
        for query in [
            "SELECT n FROM generate_series(1, 100000000) AS n",
            "SELECT repeat('x', 10000000) FROM generate_series(1, 100)",
        ] {
            let session = open().await.unwrap();
            let answer = session.fetch(query).await;
            assert!(matches!(answer, Err(TargetError::AnswerTooLarge(64))), "{query}");
            session.abandon().await;
        }
        // What has its use comes whole.
        let session = open().await.unwrap();
        let rows = session.fetch("SELECT repeat('x', 1000) FROM generate_series(1, 20000)").await.unwrap();
        assert_eq!(rows.len(), 20_000);
        session.close().await;
    }
}
