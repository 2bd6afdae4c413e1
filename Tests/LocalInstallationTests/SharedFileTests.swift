import Foundation
import TestSupport
import Testing

@testable import LocalInstallation

struct SharedFileTests {
    private func mode(_ path: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
    }

    @Test(arguments: [0o600, 0o640, 0o644, 0o660])
    func `the mode is kept`(mode: Int) throws {
        try withTemporaryDirectory { (directory) throws in
            let path = "\(directory)/f"
            _ = FileManager.default.createFile(
                atPath: path,
                contents: Data("a".utf8),
                attributes: [.posixPermissions: mode]
            )
            try SharedFile(path).replace(with: Array("b".utf8))
            #expect(try self.mode(path) == mode)
            #expect(try SharedFile(path).bytes == Array("b".utf8))
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["f"])
        }
    }

    @Test
    func `a new file is its owner's alone unless more is wanted`() throws {
        try withTemporaryDirectory { (directory) throws in
            try SharedFile("\(directory)/a").replace(with: [1])
            try SharedFile("\(directory)/b").replace(with: [1], mode: 0o644)
            #expect(try mode("\(directory)/a") == 0o600)
            #expect(try mode("\(directory)/b") == 0o644)
        }
    }

    @Test
    func `a symbolic link stays one`() throws {
        try withTemporaryDirectory { (directory) throws in
            try FileManager.default.createDirectory(atPath: "\(directory)/real", withIntermediateDirectories: false)
            try SharedFile("\(directory)/real/f").replace(with: [1])
            try FileManager.default.createSymbolicLink(atPath: "\(directory)/one", withDestinationPath: "two")
            try FileManager.default.createSymbolicLink(atPath: "\(directory)/two", withDestinationPath: "real/f")
            try SharedFile("\(directory)/one").replace(with: [2])
            #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "\(directory)/one") == "two")
            #expect(try SharedFile("\(directory)/real/f").bytes == [2])
        }
    }

    @Test
    func `a link to nothing leads to the new file`() throws {
        try withTemporaryDirectory { (directory) throws in
            try FileManager.default.createSymbolicLink(atPath: "\(directory)/l", withDestinationPath: "\(directory)/f")
            let file = try SharedFile("\(directory)/l")
            #expect(file.bytes == nil)
            try file.replace(with: [3])
            #expect(try SharedFile("\(directory)/f").bytes == [3])
        }
    }

    @Test
    func `links in a circle, directories and pipes are refused`() throws {
        try withTemporaryDirectory { (directory) throws in
            try FileManager.default.createSymbolicLink(atPath: "\(directory)/a", withDestinationPath: "b")
            try FileManager.default.createSymbolicLink(atPath: "\(directory)/b", withDestinationPath: "a")
            mkfifo("\(directory)/p", 0o600)
            for path in ["\(directory)/a", directory, "\(directory)/p"] {
                #expect(throws: FileError.self) { try SharedFile(path) }
            }
        }
    }

    @Test
    func `what somebody else wrote meanwhile is not lost`() throws {
        try withTemporaryDirectory { (directory) throws in
            let path = "\(directory)/f"
            try SharedFile(path).replace(with: [1])
            let file = try SharedFile(path)
            try SharedFile(path).replace(with: [2])
            #expect(throws: FileError.self) { try file.replace(with: [3]) }
            #expect(throws: FileError.self) { try file.remove() }
            #expect(try SharedFile(path).bytes == [2])
        }
    }
}
