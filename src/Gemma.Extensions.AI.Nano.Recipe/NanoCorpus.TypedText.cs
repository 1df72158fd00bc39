using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Gemma.Extensions.AI.Nano.Recipe;

internal static partial class NanoCorpus
{
    /// <summary>Sentences about one subject and the members that a schema asks of them, with keys in one style.</summary>
    private sealed class TypedText
    {
        private readonly Lexicon _l;
        private readonly Profile _profile;
        private readonly int _style;
        private readonly List<string> _sentences = [];

        /// <param name="l">Draws.</param>
        /// <param name="many">Says all that can be said but for two attributes at most, for a drill.</param>
        public TypedText(Lexicon l, bool many = false)
        {
            _l = l;
            Kind = l.Chance(0.6) ? l.Pick(Facts.Kinds) : Facts.Open(l);
            int most = Kind.Attributes.Length;
            _profile = Facts.Draw(l, Kind, many ? most - l.Random.Next(1, 3) : l.Random.Next(1, Math.Min(l.Split == Split.Train ? 7 : 5, most))); // longer texts hold more decisions
            _style = l.Random.Next(4);
        }

        public Kind Kind { get; }

        public List<Member> Members { get; } = [];

        /// <summary>All that was said.</summary>
        public string Told() => Facts.Told(_l, _profile.Subject, _sentences);

        public void AddName(string noun) => Members.Add(new Member(Key(noun), Text(), Facts.Bare(_profile.Subject)));

        public void AddFacts()
        {
            foreach ((Attribute attribute, string value) in _profile.Facts)
            {
                _sentences.Add(attribute.Say(_l, _profile.Subject, value));
                if (_l.Chance(0.85))
                {
                    Members.Add(Read(attribute, value));
                }
            }
        }

        public void AddDay()
        {
            string noun = _l.Pick(["start date", "due date", "date of birth", "order date", "end date", "release date", "last visit", "deadline"]);
            (string said, string iso) = Day(_l);
            Say(noun, said);
            Members.Add(new Member(Key(noun), """{"type":"string","format":"date"}""", iso));
        }

        public void AddEnumeration()
        {
            (string noun, string[] values) = _l.Pick(s_enumerations);
            string value = _l.Pick(values);
            Say(noun, value);
            Members.Add(new Member(Key(noun), JsonSerializer.Serialize(new { @enum = values.Select(Spelt) }), Spelt(value)));

            string Spelt(string v) => _style == 1 ? _l.Capital(v) : v;
        }

        public void AddList()
        {
            (string noun, Func<Lexicon, string> item) = _l.Pick(s_listed);
            string[] items = [.. Enumerable.Range(0, _l.Random.Next(2, 5)).Select(_ => item(_l)).Distinct()];
            string joined = items.Length == 1 ? items[0] : string.Join(", ", items[..^1]) + " and " + items[^1];
            _sentences.Add(Facts.Sentence(s_lists.Fill(_l, ("s", _profile.Subject), ("nouns", noun), ("list", joined))));
            Members.Add(new Member(Key(noun), """{"type":"array","items":{"type":"string"}}""", new JsonArray([.. items.Select(i => JsonValue.Create(i))])));
        }

        /// <summary>A member that the text does not tell, or says that it is not known: null.</summary>
        public void AddMissing()
        {
            Attribute missing = _l.Pick(_profile.Unsaid);
            if (_l.Chance(0.3))
            {
                _sentences.Add(Facts.Sentence(s_absent.Fill(_l, ("noun", missing.Called), ("s", _profile.Subject))));
            }

            Members.Add(new Member(Key(missing.Called), $$"""{"type":["{{(missing.IsNumber ? "integer" : "string")}}","null"]}""", null));
        }

        /// <summary>Moves the last members into an object of their own.</summary>
        public void Nest(int count)
        {
            List<Member> inner = Members.GetRange(Members.Count - count, count);
            Members.RemoveRange(Members.Count - count, count);
            Members.Add(new Member(Key(_l.Pick(["details", "info", "data", "extra", "more"])), Schema(inner), Object(inner)));
        }

        private void Say(string noun, string value) => _sentences.Add(new Attribute(noun, _ => value, [], []).Say(_l, _profile.Subject, value));

        private Member Read(Attribute attribute, string value)
        {
            if (attribute.IsNumber)
            {
                bool whole = !Attribute.Number(value).Contains('.', StringComparison.Ordinal);
                return new Member(Key(attribute.Called), whole && _l.Chance(0.7) ? """{"type":"integer"}""" : """{"type":"number"}""", JsonValue.Create(decimal.Parse(Attribute.Number(value), CultureInfo.InvariantCulture)));
            }

            return new Member(Key(attribute.Called), _l.Chance(0.15) ? """{"type":["string","null"]}""" : Text(), value);
        }

        private string Text() => _l.Chance(0.3) ? """{"type":"string","maxLength":60}""" : """{"type":"string"}""";

        private string Key(string noun)
        {
            string[] words = noun.Split(' ', '_');
            return _style switch
            {
                1 => string.Concat(words.Select(_l.Capital)),
                2 => string.Join('_', words),
                _ => string.Concat(words.Select((w, i) => i == 0 ? w : _l.Capital(w))),
            };
        }
    }
}
