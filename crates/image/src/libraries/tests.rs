use std::{fs, os::unix::fs::symlink};

use super::*;

/// A root with this machine's loader and C library, and copies of libraries under new names.
struct System {
    root: tempfile::TempDir,
    program: Elf,
}

impl System {
    /// Uses the real loader and libraries of this test, so that the formats are real.
    fn new() -> Self {
        let path = std::env::current_exe().unwrap();
        let program = Elf::parse(&fs::read(&path).unwrap(), &path).unwrap();
        let linked = resolve(&program, &path, Path::new("/")).unwrap();
        let system = Self { root: tempfile::tempdir().unwrap(), program };
        let (loader, bytes) = linked.loader.unwrap();
        system.put(&loader, &bytes);
        for (path, bytes) in linked.libraries {
            system.put(&path, &bytes);
        }
        system
    }

    fn put(&self, path: &Path, bytes: &[u8]) {
        let path = self.root.path().join(path.strip_prefix("/").unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn libc(&self) -> Vec<u8> {
        let linked = self.resolve(&[], &[]).unwrap();
        linked.libraries.into_iter().find(|(path, _)| path.ends_with("libc.so.6")).unwrap().1
    }

    /// Resolves a program in /opt/app/bin that needs these libraries too.
    fn resolve(&self, needed: &[&str], run_path: &[&str]) -> Result<Linked, Error> {
        let mut program = self.program.clone();
        program.needed.extend(needed.iter().map(ToString::to_string));
        program.run_path = run_path.iter().map(ToString::to_string).collect();
        resolve(&program, Path::new("/opt/app/bin/program"), self.root.path())
    }
}

#[test]
fn programs_of_this_machine_are_resolved_as_its_loader_does() {
    let path = std::env::current_exe().unwrap();
    let program = Elf::parse(&fs::read(&path).unwrap(), &path).unwrap();
    let linked = resolve(&program, &path, Path::new("/")).unwrap();
    // The loader lists what it loads: `NAME => PATH (ADDRESS)`, and itself by its path.
    let loader = linked.loader.unwrap().0;
    let listed = std::process::Command::new(&loader).arg("--list").arg(&path).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let mut wanted: Vec<_> = listed
        .lines()
        .filter_map(|line| line.trim().split_once(" => "))
        .map(|(name, path)| (name.to_owned(), fs::read(path.split(" (").next().unwrap()).unwrap()))
        .collect();
    wanted.sort();
    assert!(!wanted.is_empty(), "{listed}");
    let found: Vec<_> = linked
        .libraries
        .into_iter()
        .map(|(path, bytes)| (path.file_name().unwrap().to_str().unwrap().to_owned(), bytes))
        .collect();
    let names = |list: &[(String, Vec<u8>)]| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&found), names(&wanted));
    assert!(found == wanted, "the same files");
}

#[test]
fn libraries_are_searched_where_the_loader_searches_and_land_in_its_own_folder() {
    let system = System::new();
    let libc = system.libc();
    let folder = system.resolve(&[], &[]).unwrap().libraries.into_keys().next().unwrap();
    let folder = folder.parent().unwrap();
    system.put(Path::new("/opt/app/bin/program"), b"");
    system.put(Path::new("/opt/app/lib/liborigin.so.1"), &libc);
    system.put(Path::new("/opt/configured/libconfigured.so.1"), &libc);
    system.put(Path::new("/etc/ld.so.conf"), b"include /etc/ld.so.conf.d/*.conf\n");
    system.put(Path::new("/etc/ld.so.conf.d/a.conf"), b"# here\n/opt/configured  # and nowhere else\n");
    system.put(Path::new("/opt/absolute/libabsolute.so.1"), &libc);
    let names =
        ["liborigin.so.1", "libconfigured.so.1", "libabsolute.so.1", "/opt/absolute/libabsolute.so.1"];
    let linked = system.resolve(&names, &["$ORIGIN/../lib", "/opt/absolute"]).unwrap();
    for name in &names[..3] {
        assert!(linked.libraries.contains_key(&folder.join(name)), "{name}: {:?}", linked.libraries.keys());
    }
    assert!(linked.libraries.contains_key(Path::new(names[3])), "a path stays one");
    assert!(!linked.has_old_libc);
}

#[test]
fn a_missing_library_is_named_with_its_user_and_the_searched_folders() {
    let system = System::new();
    let error = system.resolve(&["libnowhere.so.9"], &["/opt/own"]).unwrap_err().to_string();
    for part in
        ["/opt/app/bin/program needs the ", "libnowhere.so.9", "/opt/own, ", "/usr/lib, ", "--root DIR"]
    {
        // No comma follows the last folder of the list.
        assert!(error.contains(part.trim_end_matches(", ")), "{part}: {error}");
    }
}

#[test]
fn libraries_for_another_architecture_are_skipped() {
    let system = System::new();
    let mut foreign = system.libc();
    // e_machine: the architecture that this machine is not.
    foreign[18] = if foreign[18] == 62 { 183 } else { 62 };
    system.put(Path::new("/opt/foreign/libtwo.so.1"), &foreign);
    system.put(Path::new("/opt/native/libtwo.so.1"), &system.libc());
    let linked = system.resolve(&["libtwo.so.1"], &["/opt/foreign", "/opt/native"]).unwrap();
    let two = linked.libraries.iter().find(|(path, _)| path.ends_with("libtwo.so.1")).unwrap().1;
    assert!(*two == system.libc());
    let error = system.resolve(&["libtwo.so.1"], &["/opt/foreign"]).unwrap_err().to_string();
    assert!(error.contains("libtwo.so.1"), "{error}");
}

#[test]
fn links_never_lead_out_of_the_given_root() {
    let system = System::new();
    fs::create_dir_all(system.root.path().join("opt/linked")).unwrap();
    symlink("/etc/passwd", system.root.path().join("opt/linked/libout.so.1")).unwrap();
    let error = system.resolve(&["libout.so.1"], &["/opt/linked"]).unwrap_err();
    assert!(matches!(error, Error::LibraryMissing { .. }), "{error}");
}

#[test]
fn an_old_c_library_and_a_loader_with_folders_of_its_own_are_noticed() {
    let system = System::new();
    let linked = system.resolve(&[], &[]).unwrap();
    let (loader, bytes) = linked.loader.unwrap();
    let (libc_path, libc) =
        linked.libraries.into_iter().find(|(path, _)| path.ends_with("libc.so.6")).unwrap();
    let replaced = |bytes: &[u8], from: &[u8], to: &[u8]| {
        let mut bytes = bytes.to_vec();
        while let Some(at) = bytes.windows(from.len()).position(|window| window == from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
        bytes
    };
    system.put(&libc_path, &replaced(&libc, b"\0GLIBC_2.34\0", b"\0GLIBC_2.33\0"));
    assert!(system.resolve(&[], &[]).unwrap().has_old_libc);
    system.put(&loader, &replaced(&replaced(&bytes, b"\0/lib", b"\0/own"), b"\0/usr/lib", b"\0/own/lib"));
    let error = system.resolve(&[], &[]).unwrap_err().to_string();
    assert!(error.contains("docker build"), "{error}");
}

#[test]
fn a_static_program_links_nothing() {
    let program = Elf { interpreter: None, needed: Vec::new(), ..System::new().program };
    let linked = resolve(&program, Path::new("/static"), Path::new("/nowhere")).unwrap();
    assert!(linked.loader.is_none() && linked.libraries.is_empty());
}
