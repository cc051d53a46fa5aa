//! A sorted list in chunks that its copies share: a copy of a very long list costs a pointer for each chunk, and a change
//! copies the chunk that it is in.

use std::iter::FlatMap;
use std::ops::Index;
use std::sync::Arc;

/// Items of a chunk at most: what one change copies. Smaller chunks make more pointers in each copy of the list.
const CHUNK_MAX: usize = 256;

/// What is kept in a [`Chunked`] list: one item for each key.
pub trait Keyed {
    /// What the list is sorted by.
    type Key: Ord + Copy;

    /// The key of this item.
    fn key(&self) -> Self::Key;
}

/// A number and what it stands for, sorted by both.
impl<A: Ord + Copy> Keyed for (A, u32) {
    type Key = (A, u32);

    fn key(&self) -> (A, u32) {
        *self
    }
}

/// A list sorted by the keys of its items, whose copies share what has not changed. No chunk is empty.
#[derive(Debug, Clone)]
pub struct Chunked<T> {
    chunks: Vec<Arc<Vec<T>>>,
    len: usize,
}

/// The items of a list by key.
pub type Iter<'a, T> = FlatMap<
    std::slice::Iter<'a, Arc<Vec<T>>>,
    std::slice::Iter<'a, T>,
    fn(&'a Arc<Vec<T>>) -> std::slice::Iter<'a, T>,
>;

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

impl<T> Chunked<T> {
    /// Number of items.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The items by key.
    pub fn iter(&self) -> Iter<'_, T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// The item with the smallest key.
    pub fn first(&self) -> Option<&T> {
        self.chunks.first()?.first()
    }
}

impl<T: Keyed + Clone> Chunked<T> {
    /// The chunk that has this key, or would have it, and its place there.
    fn find(&self, key: T::Key) -> (usize, Result<usize, usize>) {
        let ends_before = |chunk: &Arc<Vec<T>>| chunk.last().is_some_and(|last| last.key() < key);
        let chunk = self.chunks.partition_point(ends_before);
        match self.chunks.get(chunk) {
            Some(items) => (chunk, items.binary_search_by_key(&key, Keyed::key)),
            None => (chunk, Err(0)),
        }
    }

    /// The item with this key.
    pub fn get(&self, key: T::Key) -> Option<&T> {
        let (chunk, place) = self.find(key);
        self.chunks.get(chunk)?.get(place.ok()?)
    }

    /// The items from this key on.
    pub fn from(&self, key: T::Key) -> impl Iterator<Item = &T> {
        let (chunk, place) = self.find(key);
        let skipped = place.unwrap_or_else(|place| place);
        self.chunks.iter().skip(chunk).flat_map(|chunk| chunk.iter()).skip(skipped)
    }

    /// Puts an item in; gives the one that had its key.
    pub fn insert(&mut self, item: T) -> Option<T> {
        let (mut chunk, place) = self.find(item.key());
        let mut place = match place {
            Ok(place) => {
                let items = Arc::make_mut(&mut self.chunks[chunk]);
                return Some(std::mem::replace(&mut items[place], item));
            }
            Err(place) => place,
        };
        self.len += 1;
        if chunk == self.chunks.len() {
            // Behind all others: where new torrents go, so their chunks are full.
            match self.chunks.last().filter(|last| last.len() < CHUNK_MAX) {
                Some(last) => (chunk, place) = (chunk - 1, last.len()),
                None => {
                    self.chunks.push(Arc::new(vec![item]));
                    return None;
                }
            }
        } else if self.chunks[chunk].len() >= CHUNK_MAX {
            let behind = Arc::make_mut(&mut self.chunks[chunk]).split_off(CHUNK_MAX / 2);
            self.chunks.insert(chunk + 1, Arc::new(behind));
            if place > CHUNK_MAX / 2 {
                (chunk, place) = (chunk + 1, place - CHUNK_MAX / 2);
            }
        }
        let items = Arc::make_mut(&mut self.chunks[chunk]);
        items.reserve_exact(1);
        items.insert(place, item);
        None
    }

    /// Takes the item with this key out.
    pub fn remove(&mut self, key: T::Key) -> Option<T> {
        let (chunk, place) = self.find(key);
        let place = place.ok()?;
        self.len -= 1;
        let items = Arc::make_mut(&mut self.chunks[chunk]);
        let item = items.remove(place);
        if items.is_empty() {
            self.chunks.remove(chunk);
        }
        Some(item)
    }

    /// Where items are in the list. To be made once for many questions: it looks at every chunk.
    pub fn ranks(&self) -> Ranks<'_, T> {
        let mut before = 0;
        let chunks = self.chunks.iter().filter_map(|chunk| {
            before += chunk.len();
            Some((chunk.first()?.key(), before - chunk.len(), &chunk[..]))
        });
        Ranks { chunks: chunks.collect() }
    }
}

/// Places in a list.
pub struct Ranks<'a, T: Keyed> {
    /// The first key of each chunk, how many items are before it, and its items.
    chunks: Vec<(T::Key, usize, &'a [T])>,
}

impl<T: Keyed> Ranks<'_, T> {
    /// How many items are before the one with this key, when it is there.
    pub fn of(&self, key: T::Key) -> Option<usize> {
        let chunk = self.chunks.partition_point(|(first, ..)| *first <= key).checked_sub(1)?;
        let (_, before, items) = self.chunks[chunk];
        Some(before + items.binary_search_by_key(&key, Keyed::key).ok()?)
    }
}

impl<T> Index<usize> for Chunked<T> {
    type Output = T;

    fn index(&self, place: usize) -> &T {
        let mut skipped = place;
        for chunk in &self.chunks {
            match chunk.get(skipped) {
                Some(item) => return item,
                None => skipped -= chunk.len(),
            }
        }
        panic!("place {place} in a list of {}", self.len)
    }
}

impl<T: Keyed + Clone> FromIterator<T> for Chunked<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut list = Self::default();
        items.into_iter().for_each(|item| _ = list.insert(item));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    type List = Chunked<(i64, u32)>;

    fn is_as(list: &List, model: &BTreeSet<(i64, u32)>) {
        assert_eq!(list.len(), model.len());
        assert!(list.iter().eq(model), "the items and their order");
        assert!(list.chunks.iter().all(|chunk| (1..=CHUNK_MAX).contains(&chunk.len())));
    }

    /// Numbers that look random and are the same each time.
    fn numbers() -> impl Iterator<Item = u64> {
        let mut seed = 7u64;
        std::iter::repeat_with(move || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            seed >> 33
        })
    }

    #[test]
    fn it_is_a_sorted_set_whatever_comes_and_goes() {
        let (mut list, mut model) = (List::default(), BTreeSet::new());
        let mut numbers = numbers();
        for step in 0..20_000 {
            let key = ((numbers.next().unwrap() % 3000) as i64, 1);
            match numbers.next().unwrap() % 3 {
                0 => assert_eq!(list.remove(key), model.take(&key)),
                _ => assert_eq!(list.insert(key), model.replace(key)),
            }
            assert_eq!(list.get(key).is_some(), model.contains(&key));
            if step % 1000 == 0 {
                is_as(&list, &model);
            }
        }
        is_as(&list, &model);
        let middle = (1500, 0);
        assert!(list.from(middle).eq(model.range(middle..)));
        assert!(list.from((9999, 0)).next().is_none() && list.from((-1, 0)).eq(&model));
        let ranks = list.ranks();
        for (place, key) in model.iter().enumerate() {
            assert_eq!((ranks.of(*key), list[place]), (Some(place), *key));
        }
        assert_eq!(ranks.of((-5, 0)), None);
        for key in &model {
            assert_eq!(list.remove(*key), Some(*key));
        }
        assert!(list.is_empty() && list.chunks.is_empty());
    }

    #[test]
    fn a_copy_stays_as_it_is_and_shares_what_is_the_same() {
        let mut list: List = (0..10_000).map(|number| (number, 0)).collect();
        assert_eq!(
            list.chunks.len(),
            10_000usize.div_ceil(CHUNK_MAX),
            "chunks of what comes in order are full"
        );
        let copy = list.clone();
        list.insert((5000, 1));
        list.remove((0, 0));
        assert!(copy.len() == 10_000 && copy.get((5000, 1)).is_none() && copy.first() == Some(&(0, 0)));
        let shared = |chunk: &&Arc<Vec<_>>| list.chunks.iter().any(|other| Arc::ptr_eq(other, chunk));
        assert_eq!(copy.chunks.iter().filter(shared).count(), copy.chunks.len() - 2);
    }
}
