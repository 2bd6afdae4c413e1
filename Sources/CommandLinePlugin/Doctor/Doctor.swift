import ArgumentParser
import Glibc
import LocalInstallation
import RegistryAccess

/// `docker ram doctor`: what makes enforcement leak or break on this machine, and how to mend it.
struct Doctor: PluginCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Find what makes enforcement leak or break, and how to mend it",
        discussion: """
            Exits with 1 if something is wrong. What only root can see is said to be unknown: run it with sudo too. \
            Where the machine belongs to an organization, what root's doctor finds goes into the machine's reports.

            Example: docker ram doctor --format json
            """
    )

    @OptionGroup var common: CommonOptions

    func run(in context: CommandContext) throws {
        let facts = MachineFacts(of: context)
        let report = DoctorReport(findings: MachineCheck.all.map { Finding($0, facts) })
        context.show(report, as: common.format)
        if geteuid() == 0, facts.enrollment != nil { tell(report.findings.filter(\.isProblem), context) }
        if report.findings.contains(where: \.isProblem) { throw ProblemsFound() }
    }
}

extension Doctor {
    /// Leaves what is wrong for docker-ramd, which tells the organization.
    private func tell(_ problems: [Finding], _ context: CommandContext) {
        let findings = problems.map { finding in
            let detail = finding.outcome.details.joined(separator: "; ")
            return DoctorFinding(check: finding.id, status: finding.status.rawValue, detail: detail)
        }
        do throws(FileError) {
            try DoctorFinding.write(findings, context.paths)
        } catch {
            context.note("note: the organization is not told: \(error)")
        }
    }
}

private struct DoctorReport: CommandResult {
    let findings: [Finding]

    var json: JSONValue { .object([JSONMember("checks", .array(findings.map(\.json)))]) }

    func text(for context: CommandContext) -> String {
        var lines: [String] = []
        for status in [Finding.Status.error, .warning] {
            for finding in findings where finding.status == status {
                let title = "\(finding.title) (\(finding.id))"
                lines += entry(status, title, finding.outcome.details, finding.outcome.hint, context) + [""]
            }
        }
        // One cause, like an engine that does not answer, makes many things unknown.
        var causes: [MachineCheck.Outcome] = []
        for finding in findings where finding.status == .unknown && !causes.contains(finding.outcome) {
            causes.append(finding.outcome)
        }
        for cause in causes {
            let ids = findings.filter { $0.outcome == cause }.map(\.id).joined(separator: ", ")
            lines += entry(.unknown, ids, cause.details, cause.hint, context) + [""]
        }
        let inOrder = findings.filter { $0.status == .ok }.map(\.id)
        if !inOrder.isEmpty { lines += entry(.ok, inOrder.joined(separator: ", "), [], nil, context) + [""] }
        lines.append(countsInWords)
        return lines.joined(separator: "\n")
    }

    /// The status and what it is about, and below them what was found and what to do.
    private func entry(
        _ status: Finding.Status,
        _ title: String,
        _ details: [String],
        _ hint: String?,
        _ context: CommandContext
    ) -> [String] {
        let column = 9
        let color: Terminal.Color = status == .error ? .red : status == .ok ? .green : .yellow
        func wrapped(_ text: String) -> String {
            TerminalText.wrapped(TerminalText.printable(text), width: context.terminal.width, indentation: column)
        }
        let gap = String(repeating: " ", count: column - status.rawValue.count)
        let indentation = String(repeating: " ", count: column)
        return [context.terminal.colored(status.rawValue, color) + gap + wrapped(title)]
            + details.map { indentation + wrapped($0) } + (hint.map { [indentation + wrapped("-> \($0)")] } ?? [])
    }

    private var countsInWords: String {
        func count(_ status: Finding.Status, _ word: String) -> String {
            let number = findings.count { $0.status == status }
            return "\(number) \(word)\(number == 1 || status == .unknown || status == .ok ? "" : "s")"
        }
        return "\(findings.count) checks: \(count(.error, "error")), \(count(.warning, "warning")), "
            + "\(count(.unknown, "unknown")), \(count(.ok, "ok"))"
    }
}

/// Says that something is wrong with the machine, which the output has told already.
struct ProblemsFound: Error {}
