import LocalInstallation
import RegistryAccess

/// What Docker shows under "What's next:" after a command that we refused.
///
/// Docker gives the error text of the command, and prints the answer as a template of Go (docker/cli,
/// `cli-plugins/manager/hooks.go`, `cli-plugins/hooks/template.go`).
enum Hook {
    /// The answer to a request.
    ///
    /// - Parameters:
    ///   - request: `{"RootCmd":"pull","Flags":{},"CommandError":"..."}`.
    ///   - enrollment: the organization that this machine belongs to, if to one.
    /// - Returns: a JSON document, or `nil` if the command did not end with a refusal of ours.
    static func answer(to request: String, of enrollment: Enrollment?) -> String? {
        guard let json = try? StrictJSON.parse(Array(request.utf8)),
            let error = json.value(named: "CommandError")?.text,
            let lines = advice(on: error, after: json.value(named: "RootCmd")?.text ?? "", of: enrollment)
        else { return nil }
        return JSONValue.object([
            JSONMember("Type", .number("0")),
            JSONMember("Template", .string(lines.joined(separator: "\n"))),
        ]).text()
    }

    private static func advice(on error: String, after command: String, of enrollment: Enrollment?) -> [String]? {
        if let refusal = RefusedRegistry(foundIn: error) {
            var lines = ["\(refusal.registry) is not allowed here\(refusal.origin.map { " (\($0))" } ?? "")."]
            if let command = refusal.requestCommand {
                lines.append("Ask for access: \(command)")
                if let enrollment {
                    lines.append("Or ask in a browser: \(enrollment.requestPage(for: refusal.registry))")
                }
            }
            if let contact = refusal.contact { lines.append("Ask \(contact) for access.") }
            if takesImageFirst(command) { lines.append("See the rules for it: docker ram check --explain {{arg . 0}}") }
            if isBuild(command) {
                lines.append("The build names it (FROM, COPY --from, ADD, # syntax=), or a registry redirects to it.")
            }
            lines.append("See what is allowed: docker ram policy show")
            return lines
        }
        let builders = "Your organization has disallowed builders outside its egress proxy"
        if error.contains(builders) { return ["Make a builder that goes through it: docker ram engine builder --help"] }
        let other = [
            "Registries are refused until the policy can be read", "This request could not be inspected",
            "The egress proxy of docker-ram ",
        ]
        guard other.contains(where: error.contains) else { return nil }
        return ["See what is wrong with this machine: docker ram doctor"]
    }

    /// Whether a command builds: its error names the registry, and its operand is a directory.
    private static func isBuild(_ command: String) -> Bool {
        ["build", "image build", "builder build", "buildx build"].contains(command)
    }

    /// Whether the first operand of a command names the image, so that Docker can fill it in; Docker drops the whole
    /// answer where there is no such operand.
    private static func takesImageFirst(_ command: String) -> Bool {
        let commands = [
            "pull", "push", "run", "create", "image pull", "image push", "container run", "container create",
            "service create", "plugin install",
        ]
        return commands.contains(command)
    }
}

/// Our sentence, read back from an error that Docker printed.
struct RefusedRegistry: Equatable {
    let registry: RegistryAddress
    /// For example `acme, policy 42, 7f3a9c`.
    let origin: String?
    let contact: String?
    /// What asks the organization for it, if the sentence says so.
    let requestCommand: String?

    /// Finds the sentence in a text; whatever else the text holds is not repeated.
    init?(foundIn text: String) {
        let opening = Array("Your organization has disallowed this registry: ".utf8)
        let bytes = Array(text.utf8)
        guard let start = bytes.indices.first(where: { bytes[$0...].starts(with: opening) }) else { return nil }
        let rest = bytes[(start + opening.count)...].prefix(Refusal.longest)
        let ends = Array(" \n\r\t".utf8)
        var host = Array(rest.prefix { !ends.contains($0) })
        while let last = host.last, last == UInt8(ascii: ".") || last == UInt8(ascii: ",") { host.removeLast() }
        guard let registry = try? RegistryAddress(String(decoding: host, as: UTF8.self)) else { return nil }
        self.registry = registry
        let tail = rest.dropFirst(host.count)
        if tail.starts(with: Array(" (".utf8)), let close = tail.firstIndex(of: UInt8(ascii: ")")) {
            origin = Self.harmless(tail[(tail.startIndex + 2)..<close])
        } else {
            origin = nil
        }
        let advice = String(decoding: tail, as: UTF8.self)
        contact = Self.between("Ask ", " for access.", in: advice)
        let command = ["docker ram request --push ", "docker ram request "].first { advice.contains("access: \($0)") }
        requestCommand = command.map { command in
            // As the sentence names it, in our own words.
            let text = registry.description
            let isClear = text.contains(".") || text.contains(":") || registry.isLoopback
            return command + (isClear ? text : "\(text):443")
        }
    }

    private static func between(_ before: String, _ after: String, in text: String) -> String? {
        let bytes = Array(text.utf8)
        func find(_ words: String, from index: Int) -> Int? {
            (index..<bytes.count).first { bytes[$0...].starts(with: words.utf8) }
        }
        guard let start = find(before, from: 0) else { return nil }
        let from = start + before.utf8.count
        return find(after, from: from).flatMap { harmless(bytes[from..<$0]) }
    }

    /// Text that neither a terminal nor a template takes for a command.
    private static func harmless(_ bytes: ArraySlice<UInt8>) -> String? {
        let allowed = bytes.filter { $0 >= 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "{") && $0 != UInt8(ascii: "}") }
        return allowed.isEmpty ? nil : String(decoding: allowed, as: UTF8.self)
    }
}
