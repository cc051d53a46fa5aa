//! Operations by generation-tagged id.
//!
//! The id travels to the kernel and back as `user_data`: slot in bits 0..31, bit 31 marks the side entry of an
//! operation of two entries (the timeout linked to a connect), generation in bits 32..64. A slot that is used
//! again has another generation, so a completion or a cancel for an operation that is over finds nothing.

use crate::event::OpId;

/// Marks the second entry of an operation.
const SIDE: u64 = 1 << 31;
/// Bits of the slot number.
const SLOT_MASK: u64 = SIDE - 1;
/// `user_data` of entries that belong to no operation: cancels and closes. No slot has this number.
pub(crate) const CONTROL: u64 = u64::MAX;

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Slots with generations; freed slots are reused.
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Slab<T> {
        Slab { slots: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> OpId {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                assert!((self.slots.len() as u64) < SLOT_MASK, "more operations than ids");
                self.slots.push(Slot { generation: 0, value: None });
                (self.slots.len() - 1) as u32
            }
        };
        let slot = &mut self.slots[index as usize];
        slot.value = Some(value);
        OpId(u64::from(slot.generation) << 32 | u64::from(index))
    }

    fn slot(&mut self, id: OpId) -> Option<&mut Slot<T>> {
        let slot = self.slots.get_mut((id.0 & SLOT_MASK) as usize)?;
        (u64::from(slot.generation) == id.0 >> 32).then_some(slot)
    }

    pub(crate) fn get_mut(&mut self, id: OpId) -> Option<&mut T> {
        self.slot(id)?.value.as_mut()
    }

    /// Takes the value out; from now on the id is stale.
    pub(crate) fn remove(&mut self, id: OpId) -> Option<T> {
        let slot = self.slot(id)?;
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push((id.0 & SLOT_MASK) as u32);
        Some(value)
    }

    /// How many values are in.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

/// The `user_data` of the side entry of `id`.
pub(crate) fn side_of(id: OpId) -> u64 {
    id.0 | SIDE
}

/// Splits `user_data` into the id and whether it is the side entry.
pub(crate) fn split(user_data: u64) -> (OpId, bool) {
    (OpId(user_data & !SIDE), user_data & SIDE != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_finds_nothing_after_reuse() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!(first.0 & SLOT_MASK, second.0 & SLOT_MASK, "the slot is reused");
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second).copied(), Some("second"));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn ids_survive_the_way_through_user_data() {
        let mut slab = Slab::new();
        for round in 0..3 {
            let ids: Vec<_> = (0..10).map(|n| slab.insert(n + round)).collect();
            for id in ids {
                assert_eq!(split(id.0), (id, false));
                assert_eq!(split(side_of(id)), (id, true));
                slab.remove(id);
            }
        }
        assert_eq!(slab.get_mut(split(CONTROL).0), None);
    }
}
