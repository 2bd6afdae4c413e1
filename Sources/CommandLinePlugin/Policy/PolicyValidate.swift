import ArgumentParser
import LocalInstallation
import RegistryAccess

/// `docker ram policy validate FILE`: every fault with its place, and what the owner may not have meant.
struct PolicyValidate: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate",
        abstract: "Check a policy file before it is used",
        discussion: """
            Exits with 1 if it is not a policy; warnings are about what its owner may not mean.

            Example: docker ram policy validate new-policy.json
            """
    )

    @Argument(help: "The policy file", completion: .file())
    var file: String

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        let bytes = try Files.read(named: file, atMost: AccessPolicy.longestDocument)
        let packs = InstalledPacks.load(context.paths)
        if let problem = packs.problem {
            context.note("warning: the registry packs of this program are in force: \(problem)")
        }
        let result = PolicyValidation(file: file, bytes: bytes, packs.packs)
        switch common.format {
        case .json: context.show(result, as: .json)
        case .text:
            context.list(result.faults, in: file)
            for warning in result.policy?.warnings ?? [] {
                let place = warning.rule.map { "registry \($0 + 1): " } ?? ""
                context.errors.line(TerminalText.printable("\(file): warning: \(place)\(warning.description)"))
            }
            context.show(result, as: .text)
        }
        guard result.faults.isEmpty else {
            throw Failure("\"\(file)\" is not a policy: \(result.faults.countInWords)")
        }
        // A document in order is not used where somebody else may have written it.
        if file == context.paths.policyFile, case .faulty(let problem) = PolicyInForce.readPolicyFile(context.paths) {
            throw Failure("this machine does not use the file: \(problem)")
        }
    }
}

private struct PolicyValidation: CommandResult {
    let file: String
    let policy: AccessPolicy?
    let faults: [InvalidPolicy]

    init(file: String, bytes: [UInt8], _ packs: RegistryPacks) {
        self.file = file
        do throws(InvalidPolicy) {
            policy = try AccessPolicy(json: bytes, packs: packs)
            faults = []
        } catch {
            policy = nil
            faults = error.all(in: bytes)
        }
    }

    func text(for context: CommandContext) -> String {
        guard let policy else { return "" }
        let count = policy.rules.count
        return TerminalText.printable(
            "\(file): a policy of \(policy.organization), version \(policy.version), "
                + "\(count) \(count == 1 ? "registry" : "registries")"
        )
    }

    var json: JSONValue {
        .object([
            JSONMember("file", .string(file)),
            JSONMember("valid", .bool(policy != nil)),
            JSONMember(
                "errors",
                .array(
                    faults.map {
                        .object([
                            JSONMember("line", .number("\($0.line)")), JSONMember("column", .number("\($0.column)")),
                            JSONMember("message", .string($0.message)),
                        ])
                    }
                )
            ),
            JSONMember(
                "warnings",
                .array(
                    (policy?.warnings ?? []).map {
                        .object([
                            JSONMember("registry", .integer($0.rule.map { $0 + 1 })),
                            JSONMember("message", .string($0.description)),
                        ])
                    }
                )
            ),
        ])
    }
}
