//! The torrent table and its side bar: what is known, what is shown, in which order, and what is selected.

mod change;
mod column;
mod entry;
mod filter;
mod row;
mod selection;
mod sidebar;
mod table;

pub use change::TableChange;
pub use column::{Column, Order};
pub use filter::{Filter, StateFilter};
pub use row::{Row, State};
pub use selection::{Click, Step};
pub use sidebar::{Choice, Section, SidebarItem};
pub use table::Table;
