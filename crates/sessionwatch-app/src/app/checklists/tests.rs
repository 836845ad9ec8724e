use super::*;
use crate::app::test_app::TestApp;

const TARGETS: &str = "[[target]]\nname = \"shop\"\nurl = \"postgres://u@h/d\"\n";

#[test]
fn weeks_follow_each_other_without_a_gap() {
    let now = UtcTimestamp::UNIX_EPOCH + 1_000 * DAY;
    assert_eq!(week_period(now, 0), Period { from: now - 7 * DAY, to: now });
    for weeks in 0..TREND_WEEKS {
        assert_eq!(week_period(now, weeks).from, week_period(now, weeks + 1).to, "{weeks}");
        assert_eq!(week_period(now, weeks).duration(), 7 * DAY, "{weeks}");
    }
}

#[tokio::test]
async fn a_week_before_the_first_check_run_has_no_score() {
    let scene = TestApp::with_config(TARGETS);
    for weeks_ago in [0, 3, 100_000] {
        let report = load_weekly_report(&scene, scene.target("shop").unwrap(), weeks_ago).await.unwrap();
        let trend: Vec<u32> = report.trend.iter().map(|week| week.weeks_ago).collect();
        assert_eq!(trend, [7, 6, 5, 4, 3, 2, 1, 0]);
        assert!(report.trend.iter().all(|week| week.counts.is_none()));
        assert_eq!(report.checklist.period(), week_period(scene.clock.now(), weeks_ago));
    }
}

#[tokio::test]
async fn an_attestation_counts_in_its_week_and_names_who_gave_it() {
    let scene = TestApp::with_config(TARGETS);
    let attest = async |target: &str, holds, note: &str| {
        let new = NewAttestation { target: target.into(), holds, note: note.into() };
        record_attestation(&scene, &Actor::from_token("ada", "bot"), new).await
    };
    let refused = attest("shöp", true, "x").await;
    assert!(matches!(refused, Err(AppError::NotFound(_))), "{refused:?}");
    assert!(scene.audit_trail().is_empty());
    scene.advance_clock(DAY);
    attest("shop", false, "<b>3 tickets\u{1b}[2J").await.unwrap();
    scene.advance_clock(DAY);
    let text =
        async || load_weekly_checklist(&scene, scene.target("shop").unwrap()).await.unwrap().render_text();
    let failing = text().await;
    assert!(failing.contains("failing  No user reports of session issues  ada (bot), on "), "{failing}");
    assert!(!failing.contains('\u{1b}'), "{failing:?}");
    attest("shop", true, "all answered").await.unwrap();
    scene.advance_clock(DAY);
    assert!(text().await.contains("passing  No user reports of session issues"), "the last one counts");
    scene.advance_clock(7 * DAY);
    assert!(text().await.contains("unknown  No user reports of session issues"), "last week is over");
    assert_eq!(scene.audit_trail()[0][..2], ["ada (bot)", "checklist.attested"]);
}
