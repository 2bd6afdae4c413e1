import TestSupport
import Testing

@testable import OrganizationServer

/// What the command line knows of the server without asking it.
struct CommandLineScopesTests {
    @Test
    func `the command line lists the scopes that there are`() async throws {
        let command = [try Programs.path("docker-ram"), "admin", "token", "create", "ci", "--scopes"]
        let refused = try await runProgram(command + ["policy:fly"]).expecting(64)
        let known = Permission.allCases.map(\.rawValue).joined(separator: ", ")
        #expect(refused.errors.contains("there is no scope \"policy:fly\"; there are \(known)\n"), "\(refused)")
        let help = try await runProgram(command.prefix(5) + ["--help"]).expecting(0)
        for permission in Permission.allCases { #expect(help.output.contains(permission.rawValue)) }
    }
}
