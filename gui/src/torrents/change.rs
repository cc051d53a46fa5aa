//! What a window has to do to a list that it shows.

/// How the shown rows differ from before: rows that are there before and after stay in place and are updated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableChange {
    /// Rows below both lengths whose content changed, in rising order.
    pub changed: Vec<usize>,
    /// Rows before.
    pub old_len: usize,
    /// Rows now.
    pub new_len: usize,
}

impl TableChange {
    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.old_len == self.new_len
    }
}
