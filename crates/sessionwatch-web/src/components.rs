//! The parts that pages are made of. `/settings/components` shows them all.

mod avatar;
mod callout;
mod card;
mod code_block;
mod data_table;
mod dialog;
mod empty_state;
mod icon;
mod menu;
mod page_header;
mod pill;
mod stat_tile;
mod stepper;
mod timeline;

pub(super) use self::{
    avatar::{AvatarSize, render_avatar, render_user},
    callout::{Callout, Tone},
    card::Card,
    code_block::render_code_block,
    data_table::{Column, DataTable},
    dialog::Dialog,
    empty_state::EmptyState,
    icon::{Icon, render_icon},
    menu::{Menu, MenuItem},
    page_header::{Crumb, PageHeader},
    pill::{PillTone, render_pill, render_quiet_severity_pill, render_severity_pill, render_state_pill},
    stat_tile::{Sparkline, StatProblem, StatTile, render_stat_tiles},
    stepper::{Step, StepState, render_stepper, render_stepper_with_dialogs},
    timeline::{TimelineEntry, TimelineTone, render_timeline},
};
