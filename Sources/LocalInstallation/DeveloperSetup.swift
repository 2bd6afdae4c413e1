import Glibc
import RegistryAccess

/// Wires one developer's Docker to docker-ram, and takes it out again.
///
/// Three files in Docker's configuration directory take part: `config.json` is Docker's, `ram.json` tells
/// docker-credential-ram where credentials are kept, `ram-setup.json` remembers what was there before. No secret is
/// written to any of them.
public struct DeveloperSetup: Sendable {
    /// Docker's configuration directory.
    public let directory: String
    /// How credentials get in and out of their stores.
    public let stores: CredentialStores

    /// The helper's name in `credsStore`.
    public static let helper = "ram"
    /// The store that docker-credential-ram keeps itself: the Secret Service.
    static let keyring = "keyring"
    /// The commands after which Docker asks us what to say (docker/cli, `cli-plugins/manager/hooks.go`).
    static let hooks = [
        "pull", "push", "run", "create", "build", "login", "search", "import", "image pull", "image push",
        "image build", "image import", "container run", "container create", "plugin install", "plugin upgrade",
        "service create", "service update",
    ].joined(separator: ",")

    /// A developer's setup.
    ///
    /// - Parameters:
    ///   - directory: Docker's configuration directory.
    ///   - stores: how credentials get in and out of their stores.
    public init(directory: String, stores: CredentialStores) {
        self.directory = directory
        self.stores = stores
    }

    /// What was done or would be done, and what was left.
    public struct Report: Sendable, Equatable {
        /// One line for every change: `+`, `-` or `~`, the file's name, and what.
        public var changes: [String] = []
        /// What the developer should know.
        public var notes: [String] = []
        /// Registries whose credentials stay in `config.json`, and why.
        public var staying: [String] = []

        /// Nothing so far.
        public init() {}
    }

    var routingPath: String { "\(directory)/ram.json" }
    var recordPath: String { "\(directory)/ram-setup.json" }

    // MARK: - Setting up

    /// Wires Docker to docker-ram; doing it twice changes nothing more.
    ///
    /// - Parameter isDryRun: whether to say only what would be done.
    /// - Returns: what was done.
    /// - Throws: ``UnusableFile`` or ``FileError``; Docker's file is then as it was.
    public func setUp(isDryRun: Bool) throws -> Report {
        let config = try DockerConfigFile(directory: directory)
        let routingFile = try SharedFile(routingPath)
        let routing = try UnusableFile.read(routingFile, indentation: "  ")
        let earlier = try SetupRecord.read(recordPath)
        var report = Report()

        var configEdit = RecordedEdit(config.document)
        var routingEdit = RecordedEdit(routing)
        try moveHelpers(of: config, configEdit: &configEdit, routingEdit: &routingEdit, report: &report)
        try takeStore(of: config, configEdit: &configEdit, routingEdit: &routingEdit, report: &report)
        try addHooks(to: &configEdit, report: &report)
        let reading = earlier?.config.registriesReadFromFile ?? []
        let plain = config.plainCredentials.filter { credential in
            let name = DockerConfigFile.helperName(for: credential.registry)
            guard config.helper(for: credential.registry) == nil else { return false }
            // Who wrote an empty helper by hand wants the file.
            return reading.contains(name) || !config.credentialHelpers.contains { $0.registry == name }
        }
        // After a logout there is nothing left to read; the next login is for the store.
        let inUse = Set(plain.map { DockerConfigFile.helperName(for: $0.registry) })
        for name in reading.subtracting(inUse).sorted().reversed() {
            guard configEdit.document.value(at: ["credHelpers", name]) == .string("") else { continue }
            try configEdit.takeBack(["credHelpers", name], of: earlier?.config)
            report.changes.append("- config.json: credHelpers \"\(name)\": \"\"")
        }
        note(stayingIn: config, report: &report)
        report.changes += plain.map {
            "- config.json: credentials for \"\($0.registry)\" (to the store)"
        }
        guard !isDryRun, configEdit.isChanged || !routingEdit.changes.isEmpty || !plain.isEmpty else {
            return report
        }

        let madeDirectory = try makeDirectory()
        var record = SetupRecord(
            config: configEdit.record(of: config.file, after: earlier?.config),
            routing: routingEdit.record(of: routingFile, after: earlier?.routing),
            moved: earlier?.moved ?? [],
            madeDirectory: madeDirectory || earlier?.madeDirectory == true
        )
        record.concealSecrets()
        // First what the helper needs to find the store, then the secrets, and last what makes Docker ask the helper:
        // whoever is interrupted has a Docker that works as before.
        try write(record)
        if !routingEdit.changes.isEmpty { try routingFile.replace(with: routingEdit.document.bytes) }
        let moved = move(plain, report: &report)
        for credential in moved {
            for field in credential.fields { try configEdit.remove(at: ["auths", credential.registry, field]) }
        }
        try keepReadable(plain, moved, after: earlier, configEdit: &configEdit, report: &report)
        record = SetupRecord(
            config: configEdit.record(of: config.file, after: earlier?.config),
            routing: record.routing,
            moved: record.moved + moved.map(SetupRecord.Moved.init).filter { !record.moved.contains($0) },
            madeDirectory: record.madeDirectory
        )
        record.concealSecrets()
        try write(record)
        if configEdit.isChanged { try config.file.replace(with: configEdit.document.bytes) }
        return report
    }

    /// Whether Docker asks docker-ram for credentials.
    ///
    /// - Parameter config: Docker's settings.
    /// - Returns: whether `credsStore` names us.
    public static func isSetUp(_ config: DockerConfigFile) -> Bool { config.credentialStore == helper }

    private func moveHelpers(
        of config: DockerConfigFile,
        configEdit: inout RecordedEdit,
        routingEdit: inout RecordedEdit,
        report: inout Report
    ) throws {
        let helpers = config.credentialHelpers
        // From the last to the first, so that undoing puts them back in their order.
        for (registry, helper) in helpers.reversed() {
            guard !helper.isEmpty else {
                report.notes.append(
                    "\"credHelpers\" keeps \"\(registry)\" in config.json itself; docker-ram is not asked"
                )
                continue
            }
            guard helper != Self.helper else {
                try configEdit.remove(at: ["credHelpers", registry])
                report.changes.append("- config.json: credHelpers \"\(registry)\": \"\(helper)\"")
                continue
            }
            guard let address = try? RegistryAddress(serverURL: registry) else {
                report.notes.append(
                    "\"credHelpers\" names \"\(registry)\", which is no registry address; it stays, and docker-ram is "
                        + "not asked for it"
                )
                continue
            }
            try route(AddressPattern(exactly: address).description, to: helper, in: &routingEdit)
            try configEdit.remove(at: ["credHelpers", registry])
            report.changes.append("- config.json: credHelpers \"\(registry)\": \"\(helper)\"")
            report.changes.append("+ ram.json: helper \"\(helper)\" for \"\(address)\"")
        }
        if !helpers.isEmpty, configEdit.document.value(at: ["credHelpers"]) == .object([]) {
            try configEdit.remove(at: ["credHelpers"])
        }
    }

    private func route(_ address: String, to helper: String, in edit: inout RecordedEdit) throws {
        let route = JSONValue.object([
            JSONMember("address", .string(address)), JSONMember("helper", .string(helper)),
        ])
        // What was in Docker's file was in force, so it takes the place of an earlier route for the same address.
        let elements = edit.document.value(at: ["helpers"])?.elements ?? []
        let others = elements.filter { $0.value(named: "address")?.text != address }
        if others.count == elements.count {
            try edit.append(route, at: ["helpers"])
        } else if !elements.contains(route) {
            try edit.set(.array(others + [route]), at: ["helpers"])
        }
    }

    private func takeStore(
        of config: DockerConfigFile,
        configEdit: inout RecordedEdit,
        routingEdit: inout RecordedEdit,
        report: inout Report
    ) throws {
        let before = config.credentialStore
        guard before != Self.helper else { return }
        let store = store(for: config)
        if let named = routingEdit.document.value(at: ["store"])?.text, before == nil, named != store {
            report.notes.append("ram.json already keeps credentials in \"\(named)\", and still does")
        } else if routingEdit.document.value(at: ["store"])?.text != store {
            try routingEdit.set(.string(store), at: ["store"])
            report.changes.append("+ ram.json: store \"\(store)\"")
        }
        try configEdit.set(.string(Self.helper), at: ["credsStore"])
        report.changes.append(
            before.map { "~ config.json: credsStore \"\($0)\" -> \"\(Self.helper)\"" }
                ?? "+ config.json: credsStore \"\(Self.helper)\""
        )
    }

    /// Where the credentials were until now, in the words of `ram.json`.
    private func store(for config: DockerConfigFile) -> String {
        if let store = config.credentialStore { return store == "secretservice" ? Self.keyring : store }
        // With nothing configured Docker takes pass where that is installed (`default_store_linux.go`).
        let isBare = config.credentialHelpers.isEmpty && (config.document.value(at: ["auths"])?.members ?? []).isEmpty
        return isBare && stores.holdsCredentials("pass") ? "pass" : Self.keyring
    }

    private func addHooks(to edit: inout RecordedEdit, report: inout Report) throws {
        if edit.document.value(at: ["plugins", "ram", "hooks"])?.text != Self.hooks {
            try edit.set(.string(Self.hooks), at: ["plugins", "ram", "hooks"])
            report.changes.append("+ config.json: plugins.ram.hooks")
        }
        if let hooks = edit.document.value(at: ["features", "hooks"]) {
            if hooks != .string("true") {
                report.notes.append("\"features.hooks\" in config.json is not \"true\", so refusals are not explained")
            }
        } else {
            try edit.set(.string("true"), at: ["features", "hooks"])
            report.changes.append("+ config.json: features.hooks \"true\"")
        }
    }

    private func note(stayingIn config: DockerConfigFile, report: inout Report) {
        for member in config.document.value(at: ["auths"])?.members ?? [] {
            if let obstacle = PlainCredential.obstacle(in: member.value) {
                report.staying.append("\"\(member.name)\": \(obstacle.rawValue)")
            } else if let helper = config.helper(for: member.name),
                PlainCredential(registry: member.name, entry: member.value) != nil
            {
                report.staying.append("\"\(member.name)\": docker does not use it, because it asks \"\(helper)\"")
            }
        }
    }

    private func makeDirectory() throws -> Bool {
        if (try? Files.status(directory).isDirectory) == true { return false }
        try Files.makeDirectory(directory, mode: 0o700)
        return true
    }

    private func move(_ credentials: [PlainCredential], report: inout Report) -> [PlainCredential] {
        var moved: [PlainCredential] = []
        for credential in credentials {
            do {
                try stores.store(credential.registry, credential.username, credential.secret)
                let kept = try stores.fetch(credential.registry)
                guard kept?.username == credential.username, kept?.secret == credential.secret else {
                    report.staying.append("\"\(credential.registry)\": the store gave back something else")
                    continue
                }
                moved.append(credential)
            } catch {
                report.staying.append("\"\(credential.registry)\": \(error)")
            }
        }
        let names = Set(moved.map(\.registry))
        report.changes.removeAll { line in
            credentials.contains { !names.contains($0.registry) && line.contains("credentials for \"\($0.registry)\"") }
        }
        return moved
    }

    /// Has Docker go on reading from the file what could not be moved, unless the policy speaks against it: an empty
    /// helper for one registry goes before `credsStore` (docker/cli, `cli/config/configfile/file.go`).
    private func keepReadable(
        _ plain: [PlainCredential],
        _ moved: [PlainCredential],
        after earlier: SetupRecord?,
        configEdit: inout RecordedEdit,
        report: inout Report
    ) throws {
        for credential in moved.reversed() {
            try configEdit.takeBack(
                ["credHelpers", DockerConfigFile.helperName(for: credential.registry)],
                of: earlier?.config
            )
        }
        for credential in plain where !moved.contains(credential) && !stores.isDisallowed(credential.registry) {
            let path = ["credHelpers", DockerConfigFile.helperName(for: credential.registry)]
            guard configEdit.document.value(at: path) == nil else { continue }
            try configEdit.set(.string(""), at: path)
            report.changes.append("+ config.json: credHelpers \"\(path[1])\": \"\" (read from this file as before)")
        }
    }

    private func write(_ record: SetupRecord) throws {
        try SharedFile(recordPath).replace(with: Array((record.json.text(indentation: "  ") + "\n").utf8))
    }

    // MARK: - Undoing

    /// Takes the setup back: the earlier bytes where nobody else changed a file since, otherwise only what we changed.
    ///
    /// - Parameter isDryRun: whether to say only what would be done.
    /// - Returns: what was done; `nil` if there was nothing to take back.
    /// - Throws: ``UnusableFile`` or ``FileError``; what could not be changed is then as it was.
    public func undo(isDryRun: Bool) throws -> Report? {
        guard var record = try SetupRecord.read(recordPath) else { return nil }
        var report = Report()
        let configFile = try SharedFile("\(directory)/config.json")
        let routingFile = try SharedFile(routingPath)
        // Both are read before anything is changed.
        _ = try UnusableFile.read(configFile, indentation: DockerConfigFile.indentation)
        _ = try UnusableFile.read(routingFile, indentation: "  ")
        let fetched = isDryRun ? record.moved : fetch(&record, report: &report)
        if let current = try? JSONFileEdit(configFile.bytes ?? []) { record.revealSecrets(stayingIn: current) }

        let config = try record.config.undo(in: configFile.bytes, indentation: DockerConfigFile.indentation)
        let routing = try record.routing.undo(in: routingFile.bytes, indentation: "  ")
        for (name, file, undone) in [("config.json", configFile, config), ("ram.json", routingFile, routing)] {
            report.notes += undone.left.map { "\($0.joined(separator: ".")) in \(name) was changed since and stays" }
            if undone.content == nil, file.bytes != nil {
                report.changes.append("- \(name)")
            } else if undone.content != file.bytes {
                report.changes.append("~ \(name): \(undone.isExact ? "as it was" : "without what docker-ram added")")
            }
        }
        report.changes += fetched.map { "+ config.json: credentials for \"\($0.registry)\" (from the store)" }
        guard !isDryRun else { return report }
        if config.content != configFile.bytes { try put(config.content, in: configFile) }
        for moved in fetched {
            do {
                try stores.erase(moved.registry)
            } catch {
                report.notes.append("the store keeps its copy of the credentials for \"\(moved.registry)\": \(error)")
            }
        }
        if routing.content != routingFile.bytes { try put(routing.content, in: routingFile) }
        try SharedFile(recordPath).remove()
        // Fails, as it should, where something else is in it.
        if record.madeDirectory { rmdir(directory) }
        return report
    }

    private func put(_ content: [UInt8]?, in file: SharedFile) throws {
        if let content { try file.replace(with: content) } else { try file.remove() }
    }

    /// Puts the secrets back into the record, as far as their stores give them out.
    private func fetch(_ record: inout SetupRecord, report: inout Report) -> [SetupRecord.Moved] {
        var fetched: [SetupRecord.Moved] = []
        for moved in record.moved {
            do {
                guard let credential = try stores.fetch(moved.registry) else {
                    throw UnusableFile(path: moved.registry, reason: "the store does not have it any more")
                }
                let value = PlainCredential.value(
                    of: moved.field,
                    username: credential.username,
                    secret: credential.secret
                )
                record.reveal(moved, value)
                fetched.append(moved)
            } catch {
                record.forget(moved)
                let reason = (error as? UnusableFile)?.reason ?? "\(error)"
                report.staying.append("\"\(moved.registry)\": \(reason)")
            }
        }
        return fetched
    }
}

/// How credentials get in and out of their stores.
public struct CredentialStores: Sendable {
    /// A user and a secret.
    public typealias Credential = (username: String, secret: Secret)
    /// Whether `docker-credential-NAME` can be used and has any credentials.
    let holdsCredentials: @Sendable (String) -> Bool
    /// Asks docker-credential-ram for the credentials of a registry; `nil` if it has none.
    public let fetch: @Sendable (String) throws -> Credential?
    /// Hands credentials to docker-credential-ram.
    public let store: @Sendable (String, String, Secret) throws -> Void
    /// Has docker-credential-ram erase the credentials of a registry.
    public let erase: @Sendable (String) throws -> Void
    /// Whether the policy withholds the credentials of a registry.
    let isDisallowed: @Sendable (String) -> Bool

    /// Ways to the stores.
    ///
    /// - Parameters:
    ///   - holdsCredentials: whether the helper of a name can be used and has any credentials.
    ///   - fetch: gives the credentials of a registry.
    ///   - store: keeps a user and a secret for a registry.
    ///   - erase: erases those of a registry.
    ///   - isDisallowed: whether the policy withholds those of a registry.
    public init(
        holdsCredentials: @escaping @Sendable (String) -> Bool,
        fetch: @escaping @Sendable (String) throws -> Credential?,
        store: @escaping @Sendable (_ registry: String, _ username: String, _ secret: Secret) throws -> Void,
        erase: @escaping @Sendable (String) throws -> Void,
        isDisallowed: @escaping @Sendable (String) -> Bool
    ) {
        self.holdsCredentials = holdsCredentials
        self.fetch = fetch
        self.store = store
        self.erase = erase
        self.isDisallowed = isDisallowed
    }
}
