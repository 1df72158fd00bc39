namespace Gemma.Extensions.AI.Training;

/// <summary>Progress of asking the teacher, before a distillation trains.</summary>
/// <param name="Documents">Documents that the teacher was asked about.</param>
/// <param name="AllDocuments">Documents in all.</param>
public readonly record struct GemmaTeacherProgress(int Documents, int AllDocuments);
