//! Icons, from the sprite of Lucide icons.

use maud::{Markup, html};

use crate::assets::Asset;

/// An icon of the sprite. The names are those of Lucide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Icon {
    LayoutDashboard,
    MonitorSmartphone,
    Users,
    Bell,
    Siren,
    ScrollText,
    BrushCleaning,
    ClipboardCheck,
    History,
    Settings,
    Search,
    ChevronDown,
    ChevronRight,
    ChevronsUpDown,
    OctagonAlert,
    TriangleAlert,
    Diamond,
    Circle,
    CircleCheck,
    CircleX,
    CircleQuestionMark,
    Clock,
    BellOff,
    Copy,
    X,
    Check,
    Plus,
    SunMoon,
    Menu,
    ExternalLink,
    ArrowUp,
    ArrowDown,
    ArrowRight,
    Minus,
    Download,
    RotateCcw,
    // The name has a dash before the digit, which the conversion would leave out.
    #[strum(serialize = "trash-2")]
    Trash2,
    Info,
    Database,
    Rocket,
    MessageSquare,
    LogIn,
    LogOut,
    Smartphone,
    Monitor,
    Globe,
    KeyRound,
    FileText,
    Lock,
    Ellipsis,
    UserRoundCheck,
    ListFilter,
    Printer,
    BookOpen,
    Archive,
    Pencil,
    Hourglass,
    Send,
    Timer,
    Activity,
    Eye,
    User,
    ShieldCheck,
    Play,
    Mail,
}

/// Renders an icon of 16 px. It is hidden from screen readers, because a word or a label is always beside it.
pub(crate) fn render_icon(icon: Icon) -> Markup {
    let name: &str = icon.into();
    html! { svg.icon aria-hidden="true" { use href={ (Asset::Sprite.url()) "#i-" (name) } {} } }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn every_icon_is_in_the_sprite_and_every_symbol_is_an_icon() {
        let sprite = include_str!("../assets/sprite.svg");
        for icon in Icon::VARIANTS {
            let name: &str = icon.into();
            assert!(sprite.contains(&format!("id=\"i-{name}\"")), "{name}");
        }
        assert_eq!(sprite.matches("<symbol ").count(), Icon::VARIANTS.len());
    }
}
