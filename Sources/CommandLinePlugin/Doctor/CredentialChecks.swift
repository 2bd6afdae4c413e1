import LocalInstallation
import RegistryAccess

extension MachineCheck {
    static let credentialChecks = [
        MachineCheck("docker-config", "Docker's settings of this user") { facts in
            facts.configFault.map { .error($0) } ?? .ok("they can be read")
        },
        MachineCheck("credential-store", "Credential helper") { facts in
            guard facts.config != nil else { return .unknown("Docker's settings cannot be read") }
            if facts.helper.isActive == true { return .ok(facts.helper.detail) }
            if let user = facts.context.environment["SUDO_USER"] {
                return .unknown("root has Docker settings of its own; \(user)'s are seen without sudo")
            }
            guard facts.isManaged else { return .ok(facts.helper.detail) }
            return .warning("Docker does not ask the credential helper", hint: "run: docker ram setup")
        },
        MachineCheck("credential-helpers", "Helpers of single registries") { facts in
            guard let config = facts.config else { return .unknown("Docker's settings cannot be read") }
            let others = config.credentialHelpers.filter { $0.helper != DeveloperSetup.helper }.map(\.registry)
            guard facts.helper.isActive == true, !others.isEmpty else { return .ok("none goes before docker-ram") }
            let names = others.map { "\"\($0)\"" }.joined(separator: ", ")
            return .warning(
                "\"credHelpers\" in config.json goes before docker-ram for \(names)",
                hint: "run: docker ram setup"
            )
        },
        MachineCheck("plain-credentials", "Passwords in config.json") { facts in
            guard let config = facts.config else { return .unknown("Docker's settings cannot be read") }
            let plain = config.plainCredentials.map(\.registry)
            guard let first = plain.first else { return .ok("there is none") }
            let names = plain.map { "\"\($0)\"" }.joined(separator: ", ")
            // What stays there after setup is what the store does not take, a login that the policy forbids for one.
            let isSetUp = facts.helper.isActive == true
            return .warning(
                "everybody who has config.json can read the password for \(names)",
                hint: isSetUp ? "run: docker ram setup; or: docker logout \(first)" : "run: docker ram setup"
            )
        },
        MachineCheck("docker-auth-config", "Passwords in the environment") { facts in
            guard facts.context.environment["DOCKER_AUTH_CONFIG"]?.isEmpty == false else {
                return .ok("DOCKER_AUTH_CONFIG is not set")
            }
            return .warning(
                "DOCKER_AUTH_CONFIG is set: Docker takes credentials from it and asks no helper",
                hint: "unset DOCKER_AUTH_CONFIG"
            )
        },
        MachineCheck("credential-helper-path", "Program of the credential helper") { facts in
            if let path = ChildProcess.find(program, environment: facts.context.environment) { return .ok(path) }
            guard facts.helper.isActive == true else { return .ok("docker does not ask it") }
            return .error(
                "\(program) is not on PATH, so Docker finds no credentials",
                hint: "add its directory to PATH, or run: docker ram setup --undo"
            )
        },
        MachineCheck("keyring", "Keyring or other store of credentials", asksPrograms: true, keyring),
    ]

    private static let program = "docker-credential-ram"

    /// Asks the helper, which knows every fault of a keyring by its text.
    private static func keyring(_ facts: MachineFacts) -> Outcome {
        guard facts.helper.isActive == true else { return .ok("docker does not ask the credential helper") }
        guard let path = ChildProcess.find(program, environment: facts.context.environment) else {
            return .unknown("\(program) is not on PATH")
        }
        var environment = facts.context.environment
        environment["DOCKER_CONFIG"] = facts.context.dockerConfigDirectory
        environment["DOCKER_RAM_ROOT"] = facts.paths.root
        // No window may ask for a password.
        environment["DISPLAY"] = nil
        environment["WAYLAND_DISPLAY"] = nil
        let process = ChildProcess(path: path, arguments: ["list"], environment: environment)
        let result: ChildProcess.Result
        do throws(ChildProcess.Trouble) {
            result = try process.run(
                input: Array("unused".utf8),
                within: 10_000,
                whileWaiting: facts.context.impatience(about: "the store of credentials")
            )
        } catch {
            let text = error == .timeout ? "did not answer within 10 seconds" : "could not be started"
            return .error("\(program) \(text)")
        }
        if result.exitCode != 0 { return fault(in: result.words.split(whereSeparator: \.isNewline), .error) }
        let words = result.errorWords.split(whereSeparator: \.isNewline).map { line in
            let name = "\(program): "
            return line.hasPrefix(name) ? line.dropFirst(name.count) : line
        }
        return words.isEmpty ? .ok("it can be used") : fault(in: words, .warning)
    }

    /// The helper's lines: what is wrong, and hints.
    private static func fault(in lines: [Substring], _ status: Finding.Status) -> Outcome {
        let hint = "hint: "
        return Outcome(
            status: status,
            details: lines.filter { !$0.hasPrefix(hint) }.map(String.init),
            hint: lines.first { $0.hasPrefix(hint) }.map { String($0.dropFirst(hint.count)) }
        )
    }
}
