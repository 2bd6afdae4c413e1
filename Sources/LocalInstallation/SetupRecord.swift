import RegistryAccess

/// What `ram-setup.json` holds: how one developer's setup is taken back, without any secret.
struct SetupRecord: Sendable, Equatable {
    var config: UndoRecord
    var routing: UndoRecord
    /// The secrets that went from `config.json` to a store.
    var moved: [Moved]
    /// Whether Docker's configuration directory was not there before.
    var madeDirectory: Bool

    struct Moved: Sendable, Equatable {
        let registry: String
        /// The key of the entry in `auths` that held the secret.
        let field: String

        init(registry: String, field: String) {
            self.registry = registry
            self.field = field
        }

        init(_ credential: PlainCredential) {
            self.init(registry: credential.registry, field: credential.secretField)
        }

        var path: [String] { ["auths", registry, field] }
    }

    /// Takes every secret out of the record; those that stay in the file are found there when they are needed.
    mutating func concealSecrets() {
        for (registry, entry) in config.beforeMembers(of: "auths") {
            for field in PlainCredential.secretFields(in: entry) {
                config.replace(at: ["auths", registry, field], with: .string(""))
            }
        }
    }

    /// Puts a secret back that a store gave out.
    mutating func reveal(_ moved: Moved, _ value: String) {
        config.replace(at: moved.path, with: .string(value))
    }

    /// Puts the secrets back that never left the file.
    mutating func revealSecrets(stayingIn current: JSONFileEdit) {
        for (registry, entry) in config.beforeMembers(of: "auths") {
            for member in entry.members ?? [] where member.value == .string("") {
                let path = ["auths", registry, member.name]
                guard !moved.contains(where: { $0.path == path }) else { continue }
                if let value = current.value(at: path) {
                    config.replace(at: path, with: value)
                } else {
                    config.forget(path)
                }
            }
        }
    }

    /// Leaves a secret out for good, because its store does not give it out.
    mutating func forget(_ moved: Moved) {
        config.forget(moved.path)
    }

    // MARK: - As JSON

    static func read(_ path: String) throws -> SetupRecord? {
        let file = try SharedFile(path)
        guard let bytes = file.bytes else { return nil }
        let value: JSONValue
        do {
            value = try StrictJSON.parse(bytes, limits: .init(bytes: SharedFile.longest))
        } catch {
            throw UnusableFile(path: path, reason: "it is not valid JSON: \(error)")
        }
        guard value.value(named: "version") == .number("1"), let record = SetupRecord(json: value) else {
            throw UnusableFile(path: path, reason: "it is not a record that this version of docker-ram wrote")
        }
        return record
    }

    init(config: UndoRecord, routing: UndoRecord, moved: [Moved], madeDirectory: Bool) {
        self.config = config
        self.routing = routing
        self.moved = moved
        self.madeDirectory = madeDirectory
    }

    init?(json: JSONValue) {
        guard let config = json.value(named: "config").flatMap(UndoRecord.init(json:)),
            let routing = json.value(named: "routing").flatMap(UndoRecord.init(json:)),
            let elements = json.value(named: "moved")?.elements
        else { return nil }
        let moved = elements.compactMap { element -> Moved? in
            guard let registry = element.value(named: "registry")?.text, let field = element.value(named: "field")?.text
            else { return nil }
            return Moved(registry: registry, field: field)
        }
        self.init(
            config: config,
            routing: routing,
            moved: moved,
            madeDirectory: json.value(named: "madeDirectory") == .bool(true)
        )
    }

    var json: JSONValue {
        .object([
            JSONMember("version", .number("1")),
            JSONMember("config", config.json),
            JSONMember("routing", routing.json),
            JSONMember(
                "moved",
                .array(
                    moved.map {
                        .object([
                            JSONMember("registry", .string($0.registry)), JSONMember("field", .string($0.field)),
                        ])
                    }
                )
            ),
            JSONMember("madeDirectory", .bool(madeDirectory)),
        ])
    }
}
