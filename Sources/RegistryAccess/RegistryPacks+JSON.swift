extension RegistryPacks {
    /// The largest document that is read: 1 MiB.
    public static let longestDocument = 1 << 20

    /// Reads a document of registry packs.
    ///
    /// Every key must be known and come once; `docs/policy.md` describes them.
    ///
    /// - Parameter json: the document.
    /// - Throws: ``InvalidJSON`` with the place of the first fault. Nothing of a faulty document is used.
    public init(json: [UInt8]) throws(InvalidJSON) {
        var scanner = JSONScanner(json, limits: StrictJSON.Limits(bytes: Self.longestDocument, depth: 8))
        try scanner.checkSize()
        _ = scanner.peek()
        let start = scanner.position
        var version: Int?
        var packs: [Pack]?
        try scanner.object { (key, keyOffset, scanner) throws(InvalidJSON) in
            switch PolicyReader.ascii(key) {
            case "version": version = try PolicyReader.version(&scanner)
            case "packs":
                packs = try scanner.distinctElements("element") { (scanner) throws(InvalidJSON) in
                    try Self.pack(&scanner)
                }
            default: throw PolicyReader.unknown(key, ["version", "packs"], &scanner, keyOffset)
            }
        }
        try scanner.end()
        guard let version else { throw scanner.fault("the key \"version\" is missing", at: start) }
        guard let packs else { throw scanner.fault("the key \"packs\" is missing", at: start) }
        self.init(version: version, packs: packs)
    }

    private static func pack(_ scanner: inout JSONScanner) throws(InvalidJSON) -> Pack {
        _ = scanner.peek()
        let start = scanner.position
        var name: String?
        var registries: [HostForm] = []
        var hosts: [SupportHost]?
        try scanner.object { (key, keyOffset, scanner) throws(InvalidJSON) in
            switch PolicyReader.ascii(key) {
            case "name": name = try PolicyReader.line(&scanner, atMost: 64, "name")
            case "registries":
                registries = try scanner.distinctElements("element") { (scanner) throws(InvalidJSON) in
                    try form(&scanner)
                }
            case "hosts":
                hosts = try scanner.distinctElements("element") { (scanner) throws(InvalidJSON) in try host(&scanner) }
            default: throw PolicyReader.unknown(key, ["name", "registries", "hosts"], &scanner, keyOffset)
            }
        }
        guard let name else { throw scanner.fault("the key \"name\" is missing from this pack", at: start) }
        guard !registries.isEmpty else {
            throw scanner.fault("the key \"registries\" is missing from this pack, or empty", at: start)
        }
        // A registry is asked about by filling its form from a host; a star could not be filled.
        guard !registries.contains(where: { $0.labels.contains { $0.hole == .star } }) else {
            throw scanner.fault("a registry of this pack has a star; write a capture, like \"{name}\"", at: start)
        }
        guard let hosts else { throw scanner.fault("the key \"hosts\" is missing from this pack", at: start) }
        for registry in registries {
            for host in hosts where !registry.hasFreeCapturesFirst(for: host.form) {
                throw scanner.fault(
                    "\"\(registry.text)\" has a capture that \"\(host.form.text)\" has not, behind one that it has",
                    at: start
                )
            }
        }
        return Pack(name: name, registries: registries, hosts: hosts)
    }

    private static func host(_ scanner: inout JSONScanner) throws(InvalidJSON) -> SupportHost {
        _ = scanner.peek()
        let start = scanner.position
        var name: HostForm?
        var purpose: Host.Purpose?
        var isShared = false
        try scanner.object { (key, keyOffset, scanner) throws(InvalidJSON) in
            switch PolicyReader.ascii(key) {
            case "host": name = try form(&scanner)
            case "purpose": purpose = try PolicyReader.choice(&scanner)
            case "shared": isShared = try scanner.bool()
            default: throw PolicyReader.unknown(key, ["host", "purpose", "shared"], &scanner, keyOffset)
            }
        }
        guard let name else { throw scanner.fault("the key \"host\" is missing from this host", at: start) }
        guard let purpose else { throw scanner.fault("the key \"purpose\" is missing from this host", at: start) }
        return SupportHost(form: name, purpose: purpose, isShared: isShared)
    }

    private static func form(_ scanner: inout JSONScanner) throws(InvalidJSON) -> HostForm {
        _ = scanner.peek()
        let start = scanner.position
        let text = try scanner.string()
        do throws(InvalidHostForm) {
            return try HostForm(text)
        } catch {
            throw scanner.fault("bad host \(JSONScanner.quoted(text)): \(error)", at: start)
        }
    }
}

extension HostForm {
    /// Whether the captures that another form has not stand before those that it has.
    ///
    /// Then whatever rule names one of the former, names all of the latter, and ``EgressIndex`` can file it by them.
    fileprivate func hasFreeCapturesFirst(for host: HostForm) -> Bool {
        let isKnown = labels.compactMap { label -> Bool? in
            guard case .capture(let place) = label.hole else { return nil }
            return host.captures.contains(captures[place])
        }
        return isKnown.firstIndex(of: true).map { isKnown[$0...].allSatisfy(\.self) } ?? true
    }
}
