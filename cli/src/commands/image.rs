//! `playctl image build` and `playctl image load`

mod loading;

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use image::{Image, Reference, Saved, Source, engine::Engine};
use platform::exit;

use crate::{
    context::Context,
    failure::{Failure, Outcome},
    results,
    table::{self, Column},
};

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Build the container image, without a container engine, and load it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl image build -o playctl.tar     this program and the libraries it links
  playctl image load                     build it, load it into the engine found
  playctl image load playctl.tar --into minikube")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(BuildArgs),
    Load(LoadArgs),
}

/// Build the image as a tar file for ctr, minikube, podman and docker
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl image build -o playctl.tar
  playctl image build --tag registry.example/lab/playctl:1
  playctl image build --binary target/release/playctl --output json

The image contains the program, the shared libraries that it links, the CA
certificates, and nothing else. The same files give the same digest.
See docs/images.md.")]
struct BuildArgs {
    /// The tar file to write; default: playctl-VERSION-ARCHITECTURE.tar
    #[arg(long, short, value_name = "FILE")]
    output_file: Option<PathBuf>,
    #[command(flatten)]
    what: What,
}

/// Load the image into minikube, containerd, Docker or Podman
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl image load                           build, then load
  playctl image load playctl.tar    a tar of `image build` or `docker save`
  playctl image load --into minikube
  CONTAINERD_ADDRESS=/run/k3s/containerd/containerd.sock \\
    playctl image load --into containerd

The minikube profile is --profile or, by default, the platform's name (--platform).")]
struct LoadArgs {
    /// The tar file; default: build a new image
    #[arg(value_name = "FILE", conflicts_with_all = ["tag", "binary", "root", "certificates"])]
    file: Option<PathBuf>,
    /// The engine; default: the first of these that answers
    #[arg(long, value_enum, value_name = "ENGINE")]
    into: Option<Place>,
    #[command(flatten)]
    what: What,
}

#[derive(Debug, clap::Args)]
struct What {
    /// The image's name and tag; default: playctl:VERSION
    #[arg(long, value_name = "REF")]
    tag: Option<Reference>,
    /// The Linux program to put into the image; default: this one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Root directory of another system, to take the program's libraries from
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// CA certificates as a PEM file; default: those under the root directory
    #[arg(long, value_name = "FILE")]
    certificates: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Place {
    Minikube,
    Containerd,
    Docker,
    Podman,
}

impl From<Place> for Engine {
    fn from(into: Place) -> Self {
        match into {
            Place::Minikube => Self::Minikube,
            Place::Containerd => Self::Containerd,
            Place::Docker => Self::Docker,
            Place::Podman => Self::Podman,
        }
    }
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    match &args.command {
        Command::Build(args) => {
            let image = build(context, &args.what)?;
            let reference = reference(&args.what)?;
            let file = args
                .output_file
                .clone()
                .unwrap_or_else(|| PathBuf::from(format!("playctl-{VERSION}-{}.tar", image.architecture())));
            let built = save(&image, &reference, &file)?;
            for line in in_words(&built, context.printer.width()) {
                context.printer.line(&line);
            }
            context.printer.document(&built);
        }
        Command::Load(args) => {
            let loaded = load(context, args)?;
            let references = loaded.references.join(", ");
            context.printer.line(&format!("{references} is loaded into {}", loaded.into));
            context.printer.document(&loaded);
        }
    }
    Ok(exit::DONE)
}

fn load(context: &Context, args: &LoadArgs) -> Result<results::ImageLoaded, Failure> {
    let loader = loading::Loader::new(context)?;
    if let Some(file) = &args.file {
        let saved = Saved::read(file).map_err(Failure::usage)?;
        let engine = loader.choose(args.into.map(Engine::from))?;
        return loader.load(engine, file, &saved, None);
    }
    // Checked before building, which might be useless work.
    let engine = loader.choose(args.into.map(Engine::from))?;
    let image = build(context, &args.what)?;
    let reference = reference(&args.what)?;
    let folder = tempfile::Builder::new().prefix("playctl-image").tempdir();
    let folder =
        folder.map_err(|error| Failure::failed(format!("could not make a temporary folder: {error}")))?;
    let file = folder.path().join("image.tar");
    let built = save(&image, &reference, &file)?;
    let saved = Saved { references: vec![reference], digests: vec![image.digest(), image.id()] };
    loader.load(engine, &file, &saved, Some(built))
}

/// Writes the image of this program as a tar; returns its name and tag.
pub(crate) fn of_this_program(context: &Context, file: &Path) -> Result<String, Failure> {
    let what = What { tag: None, binary: None, root: PathBuf::from("/"), certificates: None };
    let image = build(context, &what)?;
    Ok(save(&image, &reference(&what)?, file)?.reference)
}

fn build(context: &Context, what: &What) -> Result<Image, Failure> {
    let binary = match &what.binary {
        Some(binary) => binary.clone(),
        None => std::env::current_exe()
            .map_err(|error| Failure::failed(format!("could not find this program's own file: {error}")))?,
    };
    context.printer.progress().show("image", &format!("reading {} and what it links", binary.display()));
    let source = Source {
        root: what.root.clone(),
        certificates: what.certificates.clone(),
        ..Source::new(binary, VERSION)
    };
    let image = Image::build(&source).map_err(Failure::failed)?;
    context.printer.progress().clear();
    for warning in image.warnings() {
        context.printer.note(&format!("warning: {warning}"));
    }
    Ok(image)
}

fn reference(what: &What) -> Result<Reference, Failure> {
    match &what.tag {
        Some(tag) => Ok(tag.clone()),
        None => format!("playctl:{VERSION}").parse().map_err(Failure::usage),
    }
}

fn save(image: &Image, reference: &Reference, file: &Path) -> Result<results::ImageBuilt, Failure> {
    let file_bytes = image.save(reference, file).map_err(Failure::failed)?;
    Ok(results::ImageBuilt {
        reference: reference.to_string(),
        file: file.to_owned(),
        file_bytes,
        architecture: image.architecture().to_string(),
        digest: image.digest(),
        id: image.id(),
        bytes: image.bytes(),
        files: image
            .files()
            .map(|(path, bytes)| results::ImageFile { path: path.to_owned(), bytes })
            .collect(),
        warnings: image.warnings().iter().map(ToString::to_string).collect(),
    })
}

fn in_words(built: &results::ImageBuilt, width: usize) -> Vec<String> {
    let mut said = vec![
        format!(
            "{} for {}, {} in {}",
            built.reference,
            built.architecture,
            size(built.bytes),
            built.file.display()
        ),
        format!("  {}", built.digest),
    ];
    let rows: Vec<_> =
        built.files.iter().map(|file| [size(file.bytes), file.path.display().to_string()]).collect();
    said.extend(table::lines([Column::number("size", 1), Column::words("file", 0)], &rows, width));
    said.push(format!("next: playctl image load {}", built.file.display()));
    said
}

fn size(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
