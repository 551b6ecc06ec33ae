//! Packs `helm-chart/` as `helm package` does, so that a released program has the chart that it fits.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};

const CHART: &str = "../../helm-chart";
/// What `.helmignore` leaves out.
const IGNORED: [&str; 3] = ["readme", "lock-images", ".helmignore"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={CHART}");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?).join("chart.tgz");
    let mut archive = tar::Builder::new(GzEncoder::new(fs::File::create(out)?, Compression::best()));
    let mut files = Vec::new();
    collect(Path::new(CHART), &mut files)?;
    // Equal charts give equal programs.
    files.sort();
    for file in files {
        let inside = file.strip_prefix(CHART).map_err(io::Error::other)?;
        if IGNORED.iter().any(|ignored| Path::new(ignored) == inside) {
            continue;
        }
        let content = fs::read(&file)?;
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, Path::new("playground").join(inside), content.as_slice())?;
    }
    archive.into_inner()?.finish()?.flush()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
