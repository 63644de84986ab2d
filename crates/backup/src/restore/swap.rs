//! Puts what was restored in the place of what is there, so that at any point it can be undone, also by another
//! process after a power cut.
//!
//! A place is a folder and names in it. What is to come waits in `.vigie-incoming` of that folder, what was there
//! goes to `.vigie-before`: all on one disk, so that each step is one rename, and also where the folder itself is a
//! mounted disk that nobody can rename. How far it got is written down before each step that changes what a step
//! back would mean.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::files;

/// A folder, and what of it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The folder.
    pub folder: PathBuf,
    /// The names in it that change; `None`: all.
    pub names: Option<Vec<PathBuf>>,
    /// How far it got.
    pub phase: Phase,
}

/// How far a place got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// All is as it was.
    #[default]
    Before,
    /// What is there is going out.
    Out,
    /// All of it is out; what is new is coming in.
    In,
}

/// Is asked before each step, and may end it there as a power cut would.
pub type Point<'a> = &'a mut dyn FnMut() -> io::Result<()>;
/// Writes down how far it got.
pub type Save<'a> = &'a mut dyn FnMut(&[Place]) -> io::Result<()>;

impl Place {
    /// Where what is to come waits.
    pub fn incoming(&self) -> PathBuf {
        self.folder.join(format!("{}incoming", files::OURS))
    }

    /// Where what was there goes.
    pub fn before(&self) -> PathBuf {
        self.folder.join(format!("{}before", files::OURS))
    }

    /// Makes room for both.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn prepare(&self) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        files::fresh(&self.before())?;
        files::fresh(&self.incoming())
    }

    /// The names that are there now.
    fn there(&self) -> io::Result<Vec<PathBuf>> {
        let there = files::names(&self.folder)?;
        Ok(match &self.names {
            None => there,
            Some(names) => there.into_iter().filter(|name| names.contains(name)).collect(),
        })
    }
}

/// Exchanges all of them; `save` writes down how far it got.
///
/// # Errors
/// When a step fails; then [`back`] undoes what was done.
pub fn forward(places: &mut [Place], save: Save<'_>, point: Point<'_>) -> io::Result<()> {
    for at in 0..places.len() {
        turn(places, at, Phase::Out, save, point)?;
        let Some(place) = places.get(at).cloned() else { break };
        move_all(&place.there()?, &place.folder, &place.before(), point)?;
        turn(places, at, Phase::In, save, point)?;
        move_all(&files::names(&place.incoming())?, &place.incoming(), &place.folder, point)?;
    }
    Ok(())
}

/// Undoes what was done. It may be ended at any point as well, and begun again.
///
/// # Errors
/// When a step fails.
pub fn back(places: &mut [Place], save: Save<'_>, point: Point<'_>) -> io::Result<()> {
    for at in (0..places.len()).rev() {
        let Some(place) = places.get(at).cloned() else { break };
        if place.phase == Phase::In {
            move_all(&place.there()?, &place.folder, &place.incoming(), point)?;
            // From here on, what is in the folder is what was there before.
            turn(places, at, Phase::Out, save, point)?;
        }
        if place.phase != Phase::Before {
            move_all(&files::names(&place.before())?, &place.before(), &place.folder, point)?;
            turn(places, at, Phase::Before, save, point)?;
        }
    }
    Ok(())
}

fn turn(places: &mut [Place], at: usize, phase: Phase, save: Save<'_>, point: Point<'_>) -> io::Result<()> {
    point()?;
    if let Some(place) = places.get_mut(at) {
        place.phase = phase;
    }
    save(places)
}

fn move_all(names: &[PathBuf], from: &Path, to: &Path, point: Point<'_>) -> io::Result<()> {
    for name in names {
        point()?;
        fs::rename(from.join(name), to.join(name))?;
    }
    files::sync(from)?;
    files::sync(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASE: [&str; 2] = ["bot.db", "bot.db-wal"];

    /// A database with a log beside it and a stranger, and a folder; both about to be exchanged.
    fn set_up(top: &Path) -> Vec<Place> {
        let (data, srv) = (top.join("data"), top.join("srv"));
        fs::create_dir_all(srv.join("repositories")).unwrap();
        fs::create_dir_all(&data).unwrap();
        for name in ["bot.db", "bot.db-wal", "stranger"] {
            fs::write(data.join(name), format!("old {name}")).unwrap();
        }
        fs::write(srv.join("repositories/a"), "old a").unwrap();
        fs::write(srv.join("only-old"), "old").unwrap();
        let names = Some(DATABASE.map(PathBuf::from).into());
        let places = vec![
            Place { folder: data, names, phase: Phase::Before },
            Place { folder: srv, names: None, phase: Phase::Before },
        ];
        places.iter().for_each(|place| place.prepare().unwrap());
        fs::write(places[0].incoming().join("bot.db"), "new").unwrap();
        fs::create_dir(places[1].incoming().join("repositories")).unwrap();
        fs::write(places[1].incoming().join("repositories/a"), "new a").unwrap();
        fs::write(places[1].incoming().join("only-new"), "new").unwrap();
        places
    }

    fn read(top: &Path, path: &str) -> String {
        fs::read_to_string(top.join(path)).unwrap_or_else(|_| "none".to_owned())
    }

    fn is_old(top: &Path) {
        assert_eq!(read(top, "data/bot.db"), "old bot.db");
        assert_eq!(read(top, "data/bot.db-wal"), "old bot.db-wal");
        assert_eq!(read(top, "data/stranger"), "old stranger");
        assert_eq!(read(top, "srv/repositories/a"), "old a");
        assert_eq!((read(top, "srv/only-old").as_str(), read(top, "srv/only-new").as_str()), ("old", "none"));
    }

    fn is_new(top: &Path) {
        assert_eq!(
            (read(top, "data/bot.db").as_str(), read(top, "data/bot.db-wal").as_str()),
            ("new", "none")
        );
        assert_eq!(read(top, "data/stranger"), "old stranger");
        assert_eq!(read(top, "srv/repositories/a"), "new a");
        assert_eq!((read(top, "srv/only-old").as_str(), read(top, "srv/only-new").as_str()), ("none", "new"));
    }

    /// Ends everything at the step of this number.
    fn cut_at(mut steps: usize) -> impl FnMut() -> io::Result<()> {
        move || {
            steps = steps.checked_sub(1).ok_or_else(|| io::Error::other("power cut"))?;
            Ok(())
        }
    }

    #[test]
    fn a_power_cut_at_any_point_leaves_nothing_half() {
        for cut in 0.. {
            let top = tempfile::tempdir().unwrap();
            let mut written = set_up(top.path());
            let mut places = written.clone();
            let mut save = |places: &[Place]| {
                written = places.to_vec();
                Ok(())
            };
            if forward(&mut places, &mut save, &mut cut_at(cut)).is_ok() {
                is_new(top.path());
                assert!(cut > 10, "{cut}");
                break;
            }
            // Going back is cut too, at every point, by one power cut after the other.
            let mut cuts = 0;
            loop {
                let mut places = written.clone();
                let mut save = |places: &[Place]| {
                    written = places.to_vec();
                    Ok(())
                };
                if back(&mut places, &mut save, &mut cut_at(cuts)).is_ok() {
                    break;
                }
                cuts += 1;
            }
            is_old(top.path());
        }
    }

    #[test]
    fn what_was_exchanged_can_be_exchanged_back() {
        let top = tempfile::tempdir().unwrap();
        let mut places = set_up(top.path());
        let mut save = |_: &[Place]| Ok(());
        forward(&mut places, &mut save, &mut || Ok(())).unwrap();
        is_new(top.path());
        back(&mut places, &mut save, &mut || Ok(())).unwrap();
        is_old(top.path());
    }
}
