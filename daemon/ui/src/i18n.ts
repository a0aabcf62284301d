import { computed, signal } from "@preact/signals";
import { en, type Texts } from "./texts/en";
import { zh } from "./texts/zh";

const dictionaries = { en, zh } satisfies Record<string, Texts>;
export type Language = keyof typeof dictionaries;

const KEPT = "synoptic-language";

/** The language of a browser: Chinese if it asks for it before English, else English. */
export function preferred(wanted: readonly string[]): Language {
  for (const tag of wanted) {
    const language = tag.toLowerCase().split("-")[0];
    if (language === "zh" || language === "en") return language;
  }
  return "en";
}

function first(): Language {
  const kept = globalThis.localStorage?.getItem(KEPT);
  return kept === "en" || kept === "zh" ? kept : preferred(globalThis.navigator?.languages ?? []);
}

export const language = signal<Language>(first());
export const texts = computed<Texts>(() => dictionaries[language.value]);

export function choose(next: Language): void {
  language.value = next;
  localStorage.setItem(KEPT, next);
}

/** Locale for dates and numbers. */
export function locale(): string {
  return language.value === "zh" ? "zh-CN" : "en-GB";
}

/** The name of a class for people; as the model calls it when no translation is known. */
export function labelName(label: string): string {
  const known = texts.value.labels[label];
  return known ?? label.charAt(0).toUpperCase() + label.slice(1);
}
