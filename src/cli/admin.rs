//! The operator's commands: backup, restore, check, resume.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{
    BackupArgs, CheckArgs, CommandFailure, OpenWorkflowsArg, Output, RestoreArgs, ResumeArgs,
    erase,
    remote::{connect, refused},
    show,
    undo::TempFolder,
};
use crate::{
    access::MasterKeys,
    api::restored_erasure,
    contents::{keep_erasure, kept_erasure},
    owned_files,
    pb::v1::{BackupRequest, ErasureCertificate, OpenWorkflows},
    service::{CheckedKeys, check_keys},
    store::{CheckReport, SledOptions, Store, StoreError, check_backup},
};

/// Enough for a folder that is read once.
const CACHE_BYTES: u64 = 256 * 1024 * 1024;

pub(super) async fn backup(args: BackupArgs) -> Result<ExitCode, CommandFailure> {
    let shown = args.file.display().to_string();
    if args.file.exists() {
        let text = format!("{shown} is there already; name a new file, or move that one away");
        return Err(CommandFailure { code: 2, text });
    }
    let client = connect(&args.remote).await?;
    // Its own: two backups to one name do not write into each other.
    let unfinished = beside(&args.file, &format!(".{}.part", std::process::id()));
    let failed = |error: io::Error| CommandFailure::new(format!("cannot write {shown}: {error}"));
    let mut file = owned_files::replace(&unfinished).map_err(failed)?;
    let taken = client
        .backup(BackupRequest { without_keys: args.without_keys }, |piece| file.write_all(piece))
        .await;
    let taken = match taken {
        Ok(written) => written.and_then(|()| file.sync_all()).map_err(failed),
        Err(status) => Err(refused(status)),
    };
    // Nothing that is not whole ever has the name of a backup.
    let checked = taken.and_then(|()| {
        let checked = check_backup(&unfinished);
        if checked.is_whole { Ok(checked) } else { Err(unsound(&shown, &checked)) }
    });
    let checked = match checked {
        Ok(checked) => checked,
        Err(failure) => {
            let _ = std::fs::remove_file(&unfinished);
            return Err(failure);
        }
    };
    std::fs::rename(&unfinished, &args.file)
        .and_then(|()| sync_folder(&args.file))
        .map_err(failed)?;
    if !checked.is_sound() {
        // It is what there is: better than none.
        return Err(unsound(&format!("{shown} is there, and"), &checked));
    }
    match args.remote.output {
        Output::Json => {
            let CheckReport { workflows, open, rows, key_files, .. } = checked;
            let told = serde_json::json!({
                "file": shown, "workflows": workflows, "open_workflows": open, "rows": rows,
                "key_files": key_files
            });
            show::line(&told.to_string());
        }
        Output::Text => show::line(&format!("{shown}: {}", counted(&checked))),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn restore(args: RestoreArgs) -> Result<ExitCode, CommandFailure> {
    if !args.file.is_file() {
        let text = format!("there is no file {}", args.file.display());
        return Err(CommandFailure { code: 2, text });
    }
    let checked = check_backup(&args.file);
    if !checked.is_whole || !(checked.is_sound() || args.despite_findings) {
        return Err(unsound(&args.file.display().to_string(), &checked));
    }
    let master_key = args.master_key.as_deref().map(master_key).transpose()?;
    let certificates = erase::certificates_in(&args.erasures)?;
    let options = SledOptions { folder: args.data.clone(), cache_bytes: CACHE_BYTES };
    options.restore(&args.file).map_err(store_failed)?;
    if !certificates.is_empty() {
        let written = write_down_erasures(&options, &certificates);
        let written = written.map_err(|error| {
            let text = format!(
                "the folder is restored, and what was erased since could not be written down in it: {error}. Move it \
                 away, and restore again"
            );
            CommandFailure { code: 1, text }
        })?;
        show::line(&format!(
            "of what was erased since, {written} workflows are in it: the first start erases them"
        ));
    }
    if let Some(key) = &master_key {
        keep_master_key(&args.data, key)?;
    }
    let data = args.data.display();
    show::line(&format!(
        "{data}: {}\n\nIt has a restore lock: `dispatch serve --data {data}` takes receipts and cancels, \
         and sends nothing\nuntil `dispatch resume --open continue` or `--open cancel` says what becomes \
         of what was open.",
        counted(&checked)
    ));
    if checked.key_files == 0 && checked.workflows > 0 {
        show::line(
            "\nThe backup holds no keys of contents, as one that was taken without them, or of a store in memory: nobody can \
             read who was\nreached and what was said, and it is served with --read-only alone.",
        );
    } else if master_key.is_none() {
        show::line(&format!(
            "\nWho was reached and what was said is encrypted in it: put the master.key of the folder that the backup was taken \
             of into {data},\nunless the configuration gives the key (access.master_key)."
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Has the first start erase what these say, as far as it is in the folder. Returns how many workflows that are.
fn write_down_erasures(
    options: &SledOptions,
    certificates: &[ErasureCertificate],
) -> Result<usize, StoreError> {
    let store = options.open()?;
    let (reader, settings) = (store.reader(), store.settings());
    let mut workflows = 0;
    for certificate in certificates {
        let erasure = restored_erasure(certificate, &*reader)?;
        if kept_erasure(&*settings, erasure.id)?.is_some() {
            // The backup holds it: it was done, or begun, before that was taken.
            continue;
        }
        workflows += erasure.slots().len();
        keep_erasure(&*settings, &erasure)?;
    }
    Ok(workflows)
}

/// What a file that holds a master key says.
fn master_key(file: &Path) -> Result<Vec<u8>, CommandFailure> {
    let wrong = |problem: String| {
        let text = format!("--master-key {}: {problem}", file.display());
        CommandFailure { code: 2, text }
    };
    if !file.is_file() {
        return Err(wrong("there is no such file".to_owned()));
    }
    MasterKeys::kept_in(file).map_err(wrong)?;
    std::fs::read(file).map_err(|error| wrong(error.to_string()))
}

fn keep_master_key(folder: &Path, key: &[u8]) -> Result<(), CommandFailure> {
    let at = folder.join(MasterKeys::FILE);
    let kept = owned_files::create_new(&at).and_then(|mut file| {
        file.write_all(key)?;
        file.sync_all()
    });
    kept.map_err(|error| CommandFailure {
        code: 1,
        text: format!("the folder is restored, and {} could not be written: {error}", at.display()),
    })
}

pub(super) fn check(args: CheckArgs) -> Result<ExitCode, CommandFailure> {
    let shown = args.path.display().to_string();
    let checked = if args.path.is_dir() {
        let (checked, keys) = check_copy(&args.path, args.master_key.as_deref())?;
        match keys {
            CheckedKeys::All => {}
            CheckedKeys::WithoutMasterKey => show::line(
                "without its master key (--master-key FILE) it is not looked whether what is open can be sent",
            ),
            CheckedKeys::Nothing(error) => {
                show::line(&format!("its keys are not looked at: {error}"));
            }
        }
        checked
    } else if args.path.is_file() {
        check_backup(&args.path)
    } else {
        let text = format!("there is no data folder and no backup at {shown}");
        return Err(CommandFailure { code: 2, text });
    };
    if !checked.is_sound() {
        return Err(unsound(&shown, &checked));
    }
    show::line(&format!("{shown}: sound; {}", counted(&checked)));
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn resume(args: ResumeArgs) -> Result<ExitCode, CommandFailure> {
    let (open, done) = match args.open {
        OpenWorkflowsArg::Continue => (OpenWorkflows::Continue, "go on"),
        OpenWorkflowsArg::Cancel => (OpenWorkflows::Cancel, "are canceled"),
    };
    let resumed = connect(&args.remote).await?.resume(open).await.map_err(refused)?;
    show::answer(args.remote.output, &resumed, |resumed| {
        format!(
            "the restore lock is lifted; {} workflows were open and {done}",
            resumed.open_workflows
        )
    });
    Ok(ExitCode::SUCCESS)
}

/// Checks a copy of a folder: sled repairs what it opens, and a check leaves everything as it was.
fn check_copy(
    folder: &Path,
    master_key_file: Option<&Path>,
) -> Result<(CheckReport, CheckedKeys), CommandFailure> {
    if let Some(file) = master_key_file {
        master_key(file)?;
    }
    let shown = folder.display();
    // Held meanwhile, so that no service changes what is copied.
    let db = std::fs::File::open(folder.join("db")).map_err(|error| CommandFailure {
        code: 2,
        text: format!("{shown} is no data folder: its file db cannot be opened: {error}"),
    })?;
    let all = std::fs::File::open(folder);
    let is_held = |lock| matches!(lock, Err(std::fs::TryLockError::WouldBlock));
    if db.try_lock().is_err() || all.as_ref().is_ok_and(|all| is_held(all.try_lock())) {
        return Err(store_failed(StoreError::InUse(shown.to_string())));
    }
    // It holds what the original holds, and goes in the end.
    let within = std::env::temp_dir();
    let copy = TempFolder::new(&within, "dispatch-check");
    let copied = copy.and_then(|copy| copy_folder(folder, copy.path()).map(|()| copy));
    let copy = copied.map_err(|error| {
        CommandFailure::new(format!(
            "cannot copy {shown} into {}, to check it: {error}",
            within.display()
        ))
    })?;
    let options = SledOptions { folder: copy.path().to_owned(), cache_bytes: CACHE_BYTES };
    let mut checked = options.check().map_err(store_failed)?;
    let own = copy.path().join(MasterKeys::FILE);
    let keys = check_keys(&options, master_key_file.unwrap_or(&own), &mut checked);
    Ok((checked, keys))
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        // It holds nothing, only room.
        if entry.file_name() == "ballast" {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            owned_files::make_folder(&target)?;
            copy_folder(&entry.path(), &target)?;
        } else {
            io::copy(
                &mut std::fs::File::open(entry.path())?,
                &mut owned_files::create_new(&target)?,
            )?;
        }
    }
    Ok(())
}

fn counted(checked: &CheckReport) -> String {
    let CheckReport { workflows, open, rows, key_files, .. } = checked;
    let keys = match key_files {
        0 => String::new(),
        1 => ", 1 file of keys".to_owned(),
        files => format!(", {files} files of keys"),
    };
    format!("{workflows} workflows, {open} of them open, {rows} transitions{keys}")
}

fn unsound(what: &str, checked: &CheckReport) -> CommandFailure {
    let mut text = format!("{what} is not sound:");
    for finding in &checked.findings {
        text.push_str(&format!("\n  {finding}"));
    }
    if checked.further > 0 {
        text.push_str(&format!("\n  and {} more", checked.further));
    }
    CommandFailure::new(text)
}

fn store_failed(error: StoreError) -> CommandFailure {
    let in_use = matches!(error, StoreError::InUse(_));
    let hint =
        "; a running service is checked through `dispatch backup FILE` and `dispatch check FILE`";
    CommandFailure::new(format!("{error}{}", if in_use { hint } else { "" }))
}

fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// A new name survives a power cut once its folder is synced.
fn sync_folder(of: &Path) -> io::Result<()> {
    let folder = of.parent().filter(|folder| !folder.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
