import ArgumentParser
import LocalInstallation
import RegistryAccess

/// One run of the program: by Docker (`docker-ram [FLAGS] ram COMMAND`), or directly (`docker-ram COMMAND`).
///
/// What Docker asks of a plugin is in docker/cli, `cli-plugins/manager` and `cli-plugins/metadata`.
struct Invocation {
    private let arguments: [String]

    init(_ arguments: [String]) {
        self.arguments = arguments
    }

    func run(in context: CommandContext) -> Int32 {
        var context = context
        var rest = arguments[...]
        var flags = GlobalFlags()
        do throws(GlobalFlags.Unreadable) {
            try flags.take(from: &rest)
            // Directly started, the program needs no name before the command.
            if rest.first == "ram" {
                rest = rest.dropFirst()
                if rest.first?.hasPrefix("-") == true { try flags.take(from: &rest) }
            }
        } catch {
            return usageError(error.message, of: CommandTree.root, in: context)
        }
        context.globalFlags = flags
        if let root = flags.root { context.paths = InstallationPaths(root: root) }
        return dispatch(Array(rest), in: context)
    }

    private func dispatch(_ arguments: [String], in context: CommandContext) -> Int32 {
        switch arguments.first {
        case "docker-cli-plugin-metadata":
            context.output.write(PluginMetadata.text)
            return ExitStatus.success
        case "docker-cli-plugin-hooks":
            let enrollment = Enrollment.read(context.paths).enrollment
            if let answer = Hook.answer(to: arguments.dropFirst().first ?? "", of: enrollment) {
                context.output.line(answer)
            }
            return ExitStatus.success
        case "__complete", "__completeNoDesc":
            var words = arguments.dropFirst()
            if words.first == "ram" { words = words.dropFirst() }
            let completion = Completion(words: Array(words), hasDescriptions: arguments[0] == "__complete")
            context.output.write(completion.text)
            return ExitStatus.success
        case "help":
            // `docker help ram check` arrives as `help ram check`.
            let words = arguments.dropFirst().drop { $0 == "ram" }
            return help(Array(words), in: context)
        case nil:
            let help = CommandTree.root.help()
            if context.globalFlags.wantsHelp { context.output.write(help) } else { context.errors.write(help) }
            return context.globalFlags.wantsHelp ? ExitStatus.success : ExitStatus.usage
        default:
            if context.globalFlags.wantsHelp { return help(arguments, in: context) }
            return perform(arguments, in: context)
        }
    }

    private func help(_ words: [String], in context: CommandContext) -> Int32 {
        let (command, unknown) = CommandTree.root.find(words)
        if let unknown, command.subcommands.isEmpty == false {
            return usageError("unknown command: \(command.path) \(unknown)", of: command, in: context)
        }
        context.output.write(command.help())
        return ExitStatus.success
    }

    private func perform(_ arguments: [String], in context: CommandContext) -> Int32 {
        let (command, unknown) = CommandTree.root.find(arguments, isRun: true)
        let options = arguments.prefix { $0 != "--" }
        if options.contains("--help") || options.contains("-h") {
            context.output.write(command.help())
            return ExitStatus.success
        }
        if !command.subcommands.isEmpty {
            guard let unknown else {
                context.errors.write(command.help())
                return ExitStatus.usage
            }
            return usageError("unknown command: \(command.path) \(unknown)", of: command, in: context)
        }
        let parsed: any ParsableCommand
        do {
            parsed = try RAM.parseAsRoot(arguments)
        } catch {
            return usageError(Self.words(of: error), of: command, in: context)
        }
        return carryOut(parsed, command, in: context)
    }

    private func carryOut(_ parsed: any ParsableCommand, _ command: CommandTree, in context: CommandContext) -> Int32 {
        guard let parsed = parsed as? any PluginCommand else {
            return usageError("\(command.path) needs a command", of: command, in: context)
        }
        var context = context
        if let root = parsed.common.root { context.paths = InstallationPaths(root: root) }
        guard context.paths.root.hasPrefix("/") else {
            return usageError("the root must be an absolute path", of: command, in: context)
        }
        do {
            try parsed.run(in: context)
            return ExitStatus.success
        } catch is Denied {
            return ExitStatus.denied
        } catch is ProblemsFound {
            return ExitStatus.failure
        } catch let failure as Failure {
            failure.print(to: context.errors)
            return failure.exitCode
        } catch let error as FileError where error.isPermission {
            Failure("\(error)", hints: ["run it as the user whom the file belongs to, or as root"])
                .print(to: context.errors)
            return ExitStatus.failure
        } catch let error as ValidationError {
            return usageError(error.message, of: command, in: context)
        } catch {
            Failure("\(error)").print(to: context.errors)
            return ExitStatus.failure
        }
    }

    /// ArgumentParser's message in our voice.
    private static func words(of error: any Error) -> String {
        let message = RAM.message(for: error)
        let line = message.split(separator: "\n").first.map(String.init) ?? "wrong usage"
        var words = (line.hasPrefix("Error: ") ? line.dropFirst(7) : line[...]).map { $0 == "'" ? "\"" : $0 }
        if words.last == "." { words.removeLast() }
        let text = String(words).split(separator: ". ", maxSplits: 1).map(String.init)
        return text.map { $0.prefix(1).lowercased() + $0.dropFirst() }.joined(separator: "; ")
    }

    /// What Docker's own commands print: the fault, the usage, and where to read on.
    private func usageError(_ message: String, of command: CommandTree, in context: CommandContext) -> Int32 {
        context.errors.line("docker ram: \(TerminalText.printable(message))")
        context.errors.line("\nUsage:  \(command.usage)\n\nRun '\(command.path) --help' for more information")
        return ExitStatus.usage
    }
}
