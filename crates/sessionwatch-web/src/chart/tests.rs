use jiff::SignedDuration;

use super::{scale::time_ticks, *};

fn at(minutes: i64) -> UtcTimestamp {
    UtcTimestamp::UNIX_EPOCH + SignedDuration::from_secs(1_795_608_000 + minutes * 60)
}

fn chart<'a>(label: &'a str, points: Vec<ChartPoint>) -> Chart<'a> {
    Chart {
        period: Period { from: at(0), to: at(1_440) },
        line: ChartSeries { label, points },
        bars: None,
        limits: vec![ChartLimit { label: "Fails above", value: 500.0 }],
        firing: vec![Period { from: at(10), to: at(20) }],
        markers: vec![],
    }
}

#[test]
fn a_line_is_interrupted_where_values_are_unknown() {
    let some = |minute| (at(minute), Some(5.0));
    let lines = |points| chart("Sessions", points).render().into_string().matches("class=\"c-line\"").count();
    // Each line is drawn twice, wide and narrow.
    assert_eq!(lines(vec![some(0), some(10), some(20)]), 2);
    assert_eq!(lines(vec![some(0), some(10), some(20), some(30), some(400), some(410)]), 4);
    assert_eq!(lines(vec![some(0), (at(10), None), some(20)]), 4);
    assert!(chart("Sessions", vec![(at(1), None)]).render().into_string().contains("No data"));
}

#[test]
fn axes_have_round_numbers_and_full_hours() {
    let ticks = time_ticks(Period { from: at(0), to: at(1_440) }, 8);
    let labels: Vec<&str> = ticks.iter().map(|(_, label)| label.as_str()).collect();
    assert_eq!(labels, ["15:00", "18:00", "21:00", "00:00", "03:00", "06:00", "09:00"]);
    let page = chart("Sessions", vec![(at(0), Some(430.0)), (at(20), Some(431.0))]).render().into_string();
    assert!(page.contains(">500<") && page.contains(">250<") && page.contains("Fails above 500"), "{page}");
}

#[test]
fn labels_cannot_leave_their_element() {
    let page = chart("</script><script>alert(1)</script>", vec![(at(0), Some(1.0))]).render().into_string();
    assert!(!page.contains("<script>alert"), "{page}");
    // One for the data, one for the script of all charts.
    assert_eq!(page.matches("</script>").count(), 2);
}

#[test]
fn the_values_are_summarized_for_screen_readers() {
    let page = chart("Sessions", vec![(at(0), Some(430.0)), (at(20), Some(1_431.0))]).render().into_string();
    assert!(page.contains("Sessions: between 430 and 1,431, latest 1,431, firing once"), "{page}");
}
