import LocalInstallation
import RegistryAccess

extension MachineCheck {
    static let registryChecks = [
        MachineCheck("registry-mirrors", "Mirrors of Docker Hub") { facts in
            guard facts.engine.fault == nil else { return .unknown("the engine could not be asked") }
            let hint = "take it out of \"registry-mirrors\" in daemon.json, or allow it in the policy"
            let outcomes = facts.engine.mirrors.map { facts.outcome(ofHost: $0, "the mirror", hint: hint) }
            return .all(outcomes, otherwise: .ok("there are none"))
        },
        MachineCheck("hosts-toml", "Other hosts in hosts.toml") { facts in
            var outcomes: [Outcome] = []
            for directory in ["/etc/docker/certs.d", "/etc/containerd/certs.d"].map({ facts.paths.prefix + $0 }) {
                for name in (try? Files.names(in: directory)) ?? [] {
                    let path = "\(directory)/\(name)/hosts.toml"
                    do throws(FileError) {
                        let bytes = try Files.read(path, atMost: 1 << 20).bytes
                        outcomes += HostsFile.hosts(in: String(decoding: bytes, as: UTF8.self)).map {
                            facts.outcome(ofHost: $0, "\"\(path)\":", hint: "take it out, or allow it in the policy")
                        }
                    } catch {
                        if !error.isNotFound { outcomes.append(.unknown("\(error)")) }
                    }
                }
            }
            return .all(outcomes, otherwise: .ok("there are none"))
        },
        MachineCheck("insecure-registries", "Registries without TLS") { facts in
            guard facts.engine.fault == nil else { return .unknown("the engine could not be asked") }
            let outcomes = facts.engine.insecureRegistries.compactMap { facts.outcome(ofInsecure: $0) }
            return .all(outcomes, otherwise: .ok("none but those that the policy marks \"insecure\""))
        },
    ]
}

extension MachineFacts {
    /// What the policy says to a host that the engine is sent to.
    fileprivate func outcome(ofHost url: String, _ what: String, hint: String) -> MachineCheck.Outcome {
        guard let address = try? RegistryAddress(serverURL: url) else {
            return leak("\(what) \"\(url)\" is no address of a registry", hint: hint)
        }
        let verdict = policy.verdict(onReaching: address)
        guard verdict.outcome == .allow else {
            return leak("\(what) \(address) is not allowed by the policy", hint: hint)
        }
        let isPlain = url.lowercased().hasPrefix("http://")
        guard !isPlain || policy.policy?.acceptsPlainHTTP(at: address) ?? true else {
            return leak("\(what) \(address) is asked without TLS, which the policy does not accept there", hint: hint)
        }
        return .ok("\(what) \(address) is allowed")
    }

    /// What the policy says to plain HTTP at an entry of the engine's list; `nil` for what is always there.
    fileprivate func outcome(ofInsecure entry: String) -> MachineCheck.Outcome? {
        let hint = "take it out of \"insecure-registries\" in daemon.json, or say \"insecure\": true in its rule"
        if entry.contains("/") {
            guard !["127.0.0.0/8", "::1/128"].contains(entry) else { return nil }
            return .warning("registries in the network \(entry) are asked without TLS", hint: hint)
        }
        guard let address = try? RegistryAddress(entry) else {
            return .warning("\"\(entry)\" in the list is no address of a registry", hint: hint)
        }
        guard let policy = policy.policy, !policy.acceptsPlainHTTP(at: address) else { return nil }
        return .warning("\(address) may be asked without TLS, which the policy does not accept there", hint: hint)
    }
}

/// The hosts in a `hosts.toml` (containerd, `docs/hosts.md`), as far as they can be found without a reader of TOML.
enum HostsFile {
    /// The `server` and every `[host."..."]`.
    static func hosts(in text: String) -> [String] {
        text.split(whereSeparator: \.isNewline).compactMap { line in
            let line = line.drop { $0 == " " || $0 == "\t" }
            let key = line.prefix { $0 != "." && $0 != "=" && $0 != " " && $0 != "\t" && $0 != "\"" && $0 != "'" }
            guard ["server", "[host", "\"server\"", "host"].contains(key) else { return nil }
            guard let open = line.firstIndex(where: { $0 == "\"" || $0 == "'" }) else { return nil }
            let rest = line[line.index(after: open)...]
            return rest.firstIndex(of: line[open]).map { String(rest[..<$0]) }
        }
    }
}
