/// `docker.service` as systemd would read it: its unit file, the drop-ins, and the files that give it an environment.
///
/// Only what tells an engine its proxy or its flags is read (systemd.exec(5), systemd.unit(5)): `ExecStart=`,
/// `Environment=` and `EnvironmentFile=`, the last drop-in counting most. Specifiers other than `%%` are not resolved.
public struct EngineService: Sendable {
    /// The path of the unit file; `nil` if there is none.
    public let unit: String?
    /// A variable that has a value, and the file that says so.
    public struct Variable: Sendable {
        /// Its value; it may hold a password.
        public let value: Secret
        /// The file.
        public let source: String
    }
    /// What the engine's environment would be without our own drop-in.
    public let environment: [String: Variable]
    /// A file whose word about proxies would go before that of our own drop-in; `nil` if none does.
    public let overriding: String?
    /// The program that `ExecStart=` starts.
    public let program: String?
    private let texts: [(path: String, lines: [String])]

    /// The directories of unit files, the first going before the others.
    private static let directories = [
        "/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
        "/lib/systemd/system",
    ]

    /// Reads the service of a machine.
    ///
    /// - Parameter paths: where its files are.
    public init(_ paths: InstallationPaths) {
        let prefix = paths.prefix
        let directories = Self.directories.map { prefix + $0 }
        unit = directories.map { "\($0)/docker.service" }.first { (try? Files.status($0).isRegularFile) == true }
        var dropIns: [String: String] = [:]
        for directory in directories {
            let names = (try? Files.names(in: "\(directory)/docker.service.d")) ?? []
            for name in names where name.hasSuffix(".conf") {
                dropIns[name] = dropIns[name] ?? "\(directory)/docker.service.d/\(name)"
            }
        }
        var reader = Reader(prefix: prefix, own: paths.proxyEnvironment)
        if let unit { reader.read(unit) }
        let ours = paths.proxyDropIn.split(separator: "/").last.map(String.init) ?? ""
        for name in dropIns.keys.sorted() {
            reader.isBehindOurs = name > ours
            if let path = dropIns[name] { reader.read(path) }
        }
        // Debian's init script reads it too, so it counts also where there is no unit.
        if unit == nil { reader.readEnvironmentFile("\(prefix)/etc/default/docker", isShell: true) }
        environment = reader.environment
        overriding = reader.overriding
        program = reader.program
        texts = reader.texts
    }

    /// What the service tells the engine about proxies.
    public var proxies: EngineProxySettings {
        EngineProxySettings(environment: environment.mapValues(\.value.text))
    }

    /// The file that gives a flag to dockerd.
    ///
    /// - Parameter flag: for example `--authorization-plugin`.
    /// - Returns: the file; `nil` if none does.
    public func file(giving flag: String) -> String? {
        texts.first { text in text.lines.contains { $0.contains(flag) } }?.path
    }

    // MARK: - Reading

    private struct Reader {
        let prefix: String
        /// Our own file of the environment, without which everything is to be read.
        let own: String
        var texts: [(path: String, lines: [String])] = []
        var program: String?
        /// Whether what is read now comes behind our own drop-in.
        var isBehindOurs = false
        private(set) var overriding: String?
        private var assigned: [String: Variable] = [:]
        private var fromFiles: [String: Variable] = [:]
        private static let proxies: Set<String> = ["http_proxy", "https_proxy", "no_proxy"]

        init(prefix: String, own: String) {
            self.prefix = prefix
            self.own = own
        }

        /// What files say goes before what `Environment=` says.
        var environment: [String: Variable] { assigned.merging(fromFiles) { $1 } }

        mutating func read(_ path: String) {
            guard let text = Self.text(of: path) else { return }
            let lines = UnitText.lines(of: text)
            texts.append((path, lines))
            var isService = false
            for line in lines {
                if line.hasPrefix("[") {
                    isService = line.hasPrefix("[Service]")
                    continue
                }
                guard isService, let equals = line.firstIndex(of: "=") else { continue }
                let value = UnitText.trimmed(line[line.index(after: equals)...])
                switch UnitText.trimmed(line[..<equals]) {
                case "Environment": assign(value, source: path)
                case "EnvironmentFile": readEnvironmentFile(named: value, by: path)
                case "UnsetEnvironment":
                    let names = UnitText.words(value).map { $0.prefix { $0 != "=" }.lowercased() }
                    if !Self.proxies.isDisjoint(with: names) { overriding = path }
                case "ExecStart":
                    guard let word = UnitText.words(value).first else { break }
                    program = String(word.drop { "@-:+!".contains($0) })
                default: break
                }
            }
        }

        private mutating func assign(_ value: String, source: String) {
            if value.isEmpty { assigned = [:] }
            for word in UnitText.words(value) {
                guard let equals = word.firstIndex(of: "="), let value = UnitText.withoutSpecifiers(word) else {
                    continue
                }
                let name = String(word[..<equals])
                assigned[name] = Variable(value: Secret(String(value.dropFirst(name.count + 1))), source: source)
            }
        }

        private mutating func readEnvironmentFile(named value: String, by source: String) {
            if value.isEmpty {
                fromFiles = [:]
                if isBehindOurs { overriding = source }
            }
            let path = prefix + (value.hasPrefix("-") ? value.dropFirst() : value[...])
            if path != own { readEnvironmentFile(path, isShell: false) }
        }

        mutating func readEnvironmentFile(_ path: String, isShell: Bool) {
            guard let text = Self.text(of: path) else { return }
            texts.append((path, UnitText.lines(of: text)))
            for (name, value) in UnitText.variables(in: text, isShell: isShell) {
                fromFiles[name] = Variable(value: Secret(value), source: path)
                if isBehindOurs, Self.proxies.contains(name.lowercased()) { overriding = path }
            }
        }

        private static func text(of path: String) -> String? {
            (try? Files.read(path, atMost: 1 << 20).bytes).map { String(decoding: $0, as: UTF8.self) }
        }
    }
}

/// The syntax of unit files and of files of an environment, as far as it is needed.
enum UnitText {
    /// The lines without comments, those that end in a backslash joined with the next.
    static func lines(of text: String) -> [String] {
        var lines: [String] = []
        var pending = ""
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            let line = trimmed(line)
            if line.hasPrefix("#") || line.hasPrefix(";") { continue }
            if line.hasSuffix("\\") {
                pending += line.dropLast() + " "
            } else {
                let whole = pending + line
                if !whole.isEmpty { lines.append(whole) }
                pending = ""
            }
        }
        return pending.isEmpty ? lines : lines + [pending]
    }

    static func trimmed(_ text: some StringProtocol) -> String {
        let isBlank = { (character: Character) in character.isWhitespace }
        return String(text.drop(while: isBlank).reversed().drop(while: isBlank).reversed())
    }

    /// Words separated by white space; quotation marks of either sort keep it, a backslash takes away a meaning.
    static func words(_ text: String) -> [String] {
        var words: [String] = []
        var word: String?
        var quote: Character?
        var isEscaped = false
        for character in text {
            if isEscaped {
                word = (word ?? "") + String(character)
                isEscaped = false
            } else if character == "\\" {
                isEscaped = true
            } else if let open = quote {
                if character == open { quote = nil } else { word = (word ?? "") + String(character) }
            } else if character == "\"" || character == "'" {
                quote = character
                word = word ?? ""
            } else if character.isWhitespace {
                if let whole = word { words.append(whole) }
                word = nil
            } else {
                word = (word ?? "") + String(character)
            }
        }
        return word.map { words + [$0] } ?? words
    }

    /// The text with `%%` as a percent sign; `nil` if it has another specifier, which only systemd can resolve.
    static func withoutSpecifiers(_ text: String) -> String? {
        var result = ""
        var rest = text[...]
        while let percent = rest.firstIndex(of: "%") {
            let next = rest.index(after: percent)
            guard next < rest.endIndex, rest[next] == "%" else { return nil }
            result += rest[...percent]
            rest = rest[rest.index(after: next)...]
        }
        return result + rest
    }

    /// The variables that a file of an environment sets; as a shell reads it, `export` may stand before one.
    static func variables(in text: String, isShell: Bool) -> [(name: String, value: String)] {
        lines(of: text).compactMap { line in
            var line = line[...]
            if isShell, line.hasPrefix("export ") { line = line.dropFirst(7).drop { $0 == " " } }
            guard let equals = line.firstIndex(of: "=") else { return nil }
            let name = trimmed(line[..<equals])
            let isName = name.utf8.allSatisfy { byte in
                byte == 0x5F || (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte | 0x20)
            }
            guard !name.isEmpty, isName else { return nil }
            let value = trimmed(line[line.index(after: equals)...])
            // Quoted, white space belongs to the value; unquoted, systemd takes all of the line.
            let isQuoted = value.hasPrefix("\"") || value.hasPrefix("'")
            return (name, isQuoted ? words(value).first ?? "" : value.split(separator: "\\").joined())
        }
    }
}
